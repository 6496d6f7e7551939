"""The walk-throughs of the README and of docs/proxy.rst, done as they are written there."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import SERVER
from tests.peers.servers import HTTP, TELNET
from tests.peers.site import Site
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.peers]

ROOT = Path(__file__).parents[2]
README = "README.rst", "\nA walk-through\n", "\nInstallation\n"
PROXY = "docs/proxy.rst", "\nSet up\n", "\nClients' settings\n"
PAGE = "It works.\n"
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


def part(page: str, first: str, last: str) -> str:
    """The text of *page* from *first* to *last*."""
    text = (ROOT / page).read_text()
    return text[text.index(first) : text.index(last)]


def steps(text: str) -> Iterator[Step]:
    """The steps in *text*, in their order."""
    step = None
    for line in text.splitlines():
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
        self.sites = sites
        self._processes: dict[str, str] = {}  # their numbers in the README, and here

    def take(self, step: Step) -> None:
        """Raises AssertionError unless *step* goes as it is written."""
        site = self.sites[step.host]
        program, *words = shlex.split(step.command)
        if program == "telnet":
            _talk(site, words, step.output)
        elif program == "kill":
            _kill(site, [self._processes[number] for number in words])
        elif program == "curl":
            assert site.run("curl", "-q", "-sS", *words).splitlines() == step.output
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
    return list(filter(None, result.stdout.splitlines()))


def _serve_page(site: Site, port: int, address: str) -> None:
    directory = site.directory / "www"
    directory.mkdir()
    (directory / "index.html").write_text(PAGE)
    words = "-m", "http.server", str(port), "--bind", address, "--directory", directory
    site.serve(port, sys.executable, *words)


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
    _serve_page(server, HTTP, "0.0.0.0")
    # It stands for the IPv4 Internet, and says that it has no name server, which telnetd would
    # wait for.
    lab.gateway.links.add_route("default", SERVER)
    lab.server.sysctl("net.ipv4.ip_forward", 1)
    return Walk(sites)


def test_every_step_goes_as_it_is_written(lab: ThreeHosts, walk: Walk) -> None:
    before = lab.gateway.links.routes()
    for step in steps(part(*README)):
        walk.take(step)
    assert lab.gateway.links.routes() == before


def test_every_step_of_a_proxy_goes_as_it_is_written(walk: Walk, tmp_path: Path) -> None:
    _serve_page(walk.sites["client"], HTTP, "::")
    page = part(*PROXY)
    found = re.search(r"::\n\n((?:    .*\n)+)", page)
    assert found
    file = tmp_path / "faith.toml"
    file.write_text(f'control = "{tmp_path / "control"}"\n{found[1]}')
    for step in steps(page):
        walk.take(replace(step, command=step.command.replace("/etc/faith.toml", str(file))))
