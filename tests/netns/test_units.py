"""The rights that the units of contrib/systemd leave are enough for all that these programs do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import routes
from faith.kernel.steering import METHODS
from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import ENVIRONMENT, Faithd
from tests.netns.service import PORT, answers, connect, relays
from tests.units import bounded, capabilities, command, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

    Run = Callable[..., Faithd]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]

DAEMON = "faithd.service"
FAITH = [sys.executable, "-m", "faith.cli.faith"]


@pytest.fixture
def run(lab: ThreeHosts, tmp_path: Path) -> Run:
    """Start a faithd by a file, with the rights of faithd.service, and wait until it serves."""

    def run(
        by: tuple[str, ...] = (), way: str = "auto", port: int = PORT, path: str = "relay"
    ) -> Faithd:
        file = tmp_path / "faith.toml"
        file.write_text(
            f'control = "{tmp_path}/control"\nworkers = 2\nuser = "nobody"\n'
            f'[[prefix]]\naddress = "{PREFIX}"\nvia = "{way}"\n'
            f'[[service]]\nports = "{port}"\npath = "{path}"\n'
            "[ping]\n[timeouts]\ndrain = 0.1\n"
        )
        words = ["--config", str(file)]
        faithd = Faithd(lab.gateway, tmp_path / "log", *words, by=[*by, *bounded(DAEMON)])
        faithd.wait_said("serving")
        return faithd

    return run


def test_both_daemons_have_the_same() -> None:
    has, other = capabilities(DAEMON), capabilities("faithd@.service")
    of_files = ("net_raw", "perfmon")  # for [ping] and the kernel path
    assert [name for name in has if name not in of_files] == other
    assert values(DAEMON, "SystemCallFilter") == values("faithd@.service", "SystemCallFilter")


@pytest.mark.usefixtures("echo", "bpf_allowed")
@pytest.mark.parametrize("way", METHODS)
def test_capabilities_are_enough_for_each_way(lab: ThreeHosts, run: Run, way: str) -> None:
    faithd = run(way=way)
    assert relays(lab)
    assert f"by {way}" in lab.gateway.run([*FAITH, "status"], env=ENVIRONMENT, check=False).stdout
    assert faithd.stop() == 0
    assert "needs CAP_" not in faithd.said
    with lab.gateway.inside():
        assert not routes.reserved()


@pytest.mark.usefixtures("echo", "bpf_allowed")
def test_capabilities_are_enough_for_the_kernel_path(lab: ThreeHosts, run: Run) -> None:
    faithd = run(path="kernel")
    with connect(lab) as flow:
        assert answers(flow)
        shown = lab.gateway.run([*FAITH, "sessions"], env=ENVIRONMENT).stdout
        assert shown.splitlines()[1].startswith("k1-")
    assert faithd.stop() == 0


def test_capabilities_are_enough_for_ports_below_1024(run: Run) -> None:
    faithd = run(way="route", port=23)
    assert faithd.stop() == 0


@pytest.mark.usefixtures("echo")
def test_capabilities_are_enough_for_an_upgrade(lab: ThreeHosts, run: Run) -> None:
    faithd = run()
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("serving", times=2, seconds=20)
        assert answers(session)
    assert relays(lab)
    assert faithd.stop() == 0


@pytest.mark.usefixtures("echo")
def test_capabilities_are_enough_for_a_reload(lab: ThreeHosts, run: Run, tmp_path: Path) -> None:
    faithd = run()
    words = command(DAEMON, "ExecReload")[1:-1]
    by = bounded(DAEMON)
    lab.gateway.run([*by, *FAITH, *words, str(tmp_path / "control")], env=ENVIRONMENT)
    faithd.wait_said("read again")
    assert relays(lab)
    assert faithd.stop() == 0


@pytest.mark.usefixtures("echo", "bpf_allowed")
@pytest.mark.parametrize("way", METHODS)
def test_capabilities_are_enough_for_other_ports_and_workers(
    lab: ThreeHosts, run: Run, tmp_path: Path, way: str
) -> None:
    faithd = run(way=way, port=1)
    before = len(faithd.workers)
    file = tmp_path / "faith.toml"
    changed = file.read_text().replace('ports = "1"', f'ports = "{PORT}"')
    file.write_text(changed.replace("workers = 2", "workers = 3"))
    lab.gateway.run([*FAITH, "reload"], env=ENVIRONMENT)
    assert relays(lab)
    wait_until(lambda: len(faithd.workers) == before + 1, 5, "a worker more, and no old ones")


def test_a_worker_that_hangs_can_be_killed(run: Run) -> None:
    faithd = run()
    os.kill(faithd.workers[0], signal.SIGSTOP)
    assert faithd.stop(10) == 0


@pytest.mark.usefixtures("echo")
def test_system_calls_are_those_of_the_filter(
    lab: ThreeHosts, run: Run, tmp_path: Path, need: Callable[[str], str]
) -> None:
    trace = tmp_path / "trace"
    strace = (need("strace"), "-f", "-qq", "-c", "-U", "name", "-o", str(trace))
    faithd = run(by=strace)
    assert relays(lab)
    (supervisor,) = faithd.workers  # the child of strace
    os.kill(supervisor, signal.SIGTERM)
    assert faithd.process.wait(20) == 0
    used = set(re.findall(r"^\w+$", trace.read_text(), re.MULTILINE)) - {"syscall", "total"}
    allowed = permitted(need("systemd-analyze"), values(DAEMON, "SystemCallFilter"))
    assert used >= {"execve", "accept4"}
    assert used <= allowed, used - allowed


def permitted(analyze: str, lines: list[str]) -> set[str]:
    """The system calls that a filter lets pass, with sets written out."""
    found, todo = set(), " ".join(lines).split()
    while todo:
        name = todo.pop()
        if name.startswith("@"):
            listed = subprocess.check_output([analyze, "syscall-filter", name], text=True)
            todo += [line.strip() for line in listed.splitlines()[1:] if "#" not in line]
        elif name:
            found.add(name)
    return found


def test_a_prefix_takes_no_more_than_its_unit_has(lab: ThreeHosts) -> None:
    def do(key: str) -> list[str]:
        unit = "faith-prefix@.service"
        words = command(unit, key)[1:]
        lab.gateway.run([*bounded(unit), *FAITH, *words], env=ENVIRONMENT)
        with lab.gateway.inside():
            return list(map(str, routes.reserved()))

    assert do("ExecStart") == [PREFIX]
    assert do("ExecStop") == []
