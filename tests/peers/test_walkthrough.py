"""The walk-through of the README, done as it is written there."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import SERVER
from tests.peers.servers import TELNET
from tests.peers.site import Site
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.peers]

ROOT = Path(__file__).parents[2]
FIRST, LAST = "\nA walk-through\n", "\nInstallation\n"
TYPED = re.compile(r" {4}(\w+)[#$] (.+)")
PROCESS = re.compile(r"(?<=pid )\d+")
CHANGING = re.compile(r"(?<=pid )\d+|\d+ workers?|\d+ sessions?|(?<=, by )\w+|(?<=, for )\d+ s")
"""What another machine may show otherwise; sk_lookup takes rights that not every root has."""


@dataclass(frozen=True)
class Step:
    """A *command* that is typed on *host*, and the lines that it writes, or some of them."""

    host: str
    command: str
    output: list[str] = field(default_factory=list)


def steps() -> Iterator[Step]:
    """The steps of the README, in their order."""
    step = None
    text = (ROOT / "README.rst").read_text()
    for line in text[text.index(FIRST) : text.index(LAST)].splitlines():
        if typed := TYPED.fullmatch(line):
            if step:
                yield step
            step = Step(typed[1], typed[2])
        elif step and line.startswith("    "):
            step.output.append(line.strip())
    assert step
    yield step


class Walk:
    """Takes the steps, on *sites* by the names of their hosts."""

    def __init__(self, sites: dict[str, Site]) -> None:
        self._sites = sites
        self._processes: dict[str, str] = {}  # their numbers in the README, and here

    def take(self, step: Step) -> None:
        """Raises AssertionError unless *step* goes as it is written."""
        site = self._sites[step.host]
        program, *words = shlex.split(step.command)
        if program == "telnet":
            _talk(site, words, step.output)
        elif program == "kill":
            _kill(site, [self._processes[number] for number in words])
        else:
            self._compare(_run(site, program, words), step.output)

    def _compare(self, lines: list[str], expected: list[str]) -> None:
        assert [CHANGING.sub("*", line) for line in lines] == [
            CHANGING.sub("*", line) for line in expected
        ]
        ours, theirs = (PROCESS.findall("\n".join(output)) for output in (lines, expected))
        self._processes.update(zip(theirs, ours, strict=True))


def _talk(site: Site, words: list[str], expected: list[str]) -> None:
    with Terminal(site, "inetutils-telnet", *words) as terminal:
        for line in expected:
            terminal.wait_for(line)


def _kill(site: Site, processes: list[str]) -> None:
    site.run("kill", *processes)
    running = [Path("/proc", process) for process in processes]
    wait_until(lambda: not any(path.exists() for path in running), 10, "their end")


def _run(site: Site, program: str, words: list[str]) -> list[str]:
    module = f"faith.cli.{program}"  # what is installed may be another version
    result = site.host.run(
        [sys.executable, "-m", module, *words],
        env={**site.environment(), "PYTHONPATH": str(ROOT)},
    )
    return result.stdout.splitlines()


@pytest.fixture
def walk(lab: ThreeHosts, tmp_path: Path, need: Callable[[str], str]) -> Walk:
    """The network of the README, with a telnetd on the server."""

    def site(host: Host) -> Site:
        directory = tmp_path / host.name
        directory.mkdir()
        return Site(host, directory, need)

    sites = {name: site(host) for name, host in lab.network.hosts.items()}
    server = sites["server"]
    server.need_other_users()  # for login
    (server.directory / "inetd.conf").write_text(
        f"{TELNET} stream tcp nowait root {need('telnetd')} telnetd\n"
    )
    server.serve(TELNET, "inetd", "-i", server.directory / "inetd.conf")
    # It stands for the IPv4 Internet, and says that it has no name server, which telnetd would
    # wait for.
    lab.gateway.links.add_route("default", SERVER)
    lab.server.sysctl("net.ipv4.ip_forward", 1)
    return Walk(sites)


def test_every_step_goes_as_it_is_written(lab: ThreeHosts, walk: Walk) -> None:
    before = lab.gateway.links.routes()
    for step in steps():
        walk.take(step)
    assert lab.gateway.links.routes() == before
