"""Which processes are believed to be faithds, and what another local user can do about it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.cli.faith import main
from faith.daemon.host import discovery
from faith.daemon.host.discovery import Announcement, running
from faith.daemon.observe.status_report import Daemon
from faith.lab.topology import PREFIX
from tests.faithd import Faithd
from tests.netns.service import PORT

if TYPE_CHECKING:
    from faith.lab import ThreeHosts
    from tests.netns.conftest import Child, Fork, Report, Start

pytestmark = [pytest.mark.netns]

NOBODY = 65534
SQUATTED = [f"\0faith/{number}".encode() for number in range(100)]


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def serve(report: Report) -> None:
    announcement = Announcement.create(lambda: Daemon(1, "telnet", "23", "route", 0.0, [], []))
    report("ready")
    while True:
        select.select([announcement], [], [])
        announcement.answer()


@pytest.mark.usefixtures("private_network")
def test_one_of_root_is_believed(fork: Fork) -> None:
    child = fork(serve)
    child.report()
    assert [found.pid for found in running()] == [child.pid]
    child.kill()
    assert running() == []


@pytest.mark.usefixtures("private_network")
def test_one_of_another_network_is_not_seen(fork: Fork, lab: ThreeHosts) -> None:
    fork(serve).report()
    assert lab.gateway.call(running) == []


@pytest.mark.usefixtures("real_root", "private_network")
def test_one_of_any_other_user_is_not_believed(fork: Fork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where an administrator has given the directory to everybody."""
    with tempfile.TemporaryDirectory(prefix="faith-") as name:  # a path short enough for sockets
        directory = Path(name)
        directory.chmod(0o777)
        monkeypatch.setattr(discovery, "DIRECTORY", directory)
        _is_not_believed(fork, directory)


def _is_not_believed(fork: Fork, directory: Path) -> None:

    def squat(report: Report) -> None:
        become_nobody()
        serve(report)

    fork(squat).report()
    assert len(list(directory.iterdir())) == 1
    assert running() == []


# -- other users of the host, beside a daemon ------------------------------------------------------


class Intruder:
    """What a process of `nobody`, on the gateway, does until it is ended."""

    def __init__(self, lab: ThreeHosts, fork: Fork) -> None:
        self._lab = lab
        self._fork = fork

    def holds(self, names: list[bytes]) -> Child:
        """Have it listen at abstract *names*; on SIGUSR1 it reports at which somebody waits."""

        def squat(report: Report) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            with self._lab.gateway.inside():
                become_nobody()
                held = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in names]
                for sock, name in zip(held, names, strict=True):
                    sock.bind(name)
                    sock.listen()
                report("ready")
                signal.sigwait({signal.SIGUSR1})
                report([sock.getsockname() for sock in select.select(held, [], [], 0)[0]])
                signal.pause()  # it may not go back to where it came from

        child = self._fork(squat)
        child.report()
        return child

    def connects(self, pid: int) -> Child:
        """Have it connect, again and again, to every socket by which faithd *pid* may be found.

        On SIGUSR1 it reports how often it was let in.
        """
        paths = map(bytes, Path("/run/faith").glob(f"*-{pid}-*"))
        names = [f"\0faith/{pid}".encode(), *paths]

        def loop(report: Report) -> None:
            let_in, told = 0, []
            signal.signal(signal.SIGUSR1, lambda *_: told.append(let_in))
            with self._lab.gateway.inside():
                become_nobody()
                report("ready")
                while not told:
                    for name in names:
                        with (
                            contextlib.suppress(OSError),
                            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock,
                        ):
                            sock.setblocking(False)
                            sock.connect(name)
                            let_in += 1
                report(let_in)
                signal.pause()

        child = self._fork(loop)
        child.report()
        return child


@pytest.fixture
def intruder(lab: ThreeHosts, fork: Fork) -> Intruder:
    return Intruder(lab, fork)


@pytest.mark.usefixtures("real_root", "reserved")
def test_a_name_that_is_no_text_keeps_nobody_from_anything(
    lab: ThreeHosts, start: Start, intruder: Intruder, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start(str(PORT))
    intruder.holds([b"\0faith/\xff", b"\0faith/\n\xff 1"])
    with lab.gateway.inside():
        assert main(["status"]) == 1  # the gateway has no default route
    assert f"pid {first.process.pid}" in capsys.readouterr().out
    second = start("-P", "2001:db8:eeee::/96", "8080")
    second.signal(signal.SIGHUP)
    second.wait_said("read again")
    assert second.stop() == 0
    assert first.stop() == 0


@pytest.mark.usefixtures("real_root", "reserved")
def test_names_that_anybody_may_take_are_not_asked(
    lab: ThreeHosts, start: Start, intruder: Intruder
) -> None:
    squatter = intruder.holds(SQUATTED)
    faithd = start("-P", "2001:db8:eeee::/96", str(PORT))
    assert [found.pid for found in lab.gateway.call(running)] == [faithd.process.pid]
    assert faithd.stop() == 0
    os.kill(squatter.pid, signal.SIGUSR1)
    assert squatter.report() == []


@pytest.mark.usefixtures("real_root", "reserved")
def test_whoever_connects_in_a_loop_keeps_no_supervisor_from_its_signals(
    lab: ThreeHosts, start: Start, intruder: Intruder
) -> None:
    faithd = start(str(PORT))
    loops = [intruder.connects(faithd.process.pid) for _ in range(3)]
    for times in range(1, 4):
        faithd.signal(signal.SIGUSR1)
        faithd.wait_said("sessions: 0", times)
    assert [found.pid for found in lab.gateway.call(running)] == [faithd.process.pid]
    for child in loops:
        os.kill(child.pid, signal.SIGUSR1)
    assert [child.report() for child in loops] == [0, 0, 0]
    assert faithd.stop() == 0


@pytest.mark.usefixtures("real_root", "reserved")
def test_a_daemon_starts_whatever_names_of_its_number_are_taken(
    lab: ThreeHosts, intruder: Intruder, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    wait = ("sh", "-c", f'read _ < {gate}; exec "$@"', "sh")
    faithd = Faithd(lab.gateway, tmp_path / "log", str(PORT), by=wait)
    name = f"\0faith/{faithd.process.pid}".encode()
    intruder.holds([name + b"+" * more for more in range(108 - len(name))])
    threading.Thread(target=gate.write_text, args=["go\n"]).start()
    faithd.wait_said("serving")
    assert [found.pid for found in lab.gateway.call(running)] == [faithd.process.pid]
    assert faithd.stop() == 0


@pytest.mark.usefixtures("reserved")
def test_nothing_is_left_by_a_daemon_that_ends_and_an_upgrade_keeps_its_socket(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start(str(PORT))
    sockets = list(Path("/run/faith").glob(f"*-{faithd.process.pid}-*"))
    assert [path.stat().st_mode & 0o777 for path in sockets] == [0o600]
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("serving", 2, seconds=20)
    (found,) = lab.gateway.call(running)
    assert (found.pid, found.programs, found.prefixes) == (faithd.process.pid, 2, [PREFIX])
    assert list(Path("/run/faith").glob(f"*-{faithd.process.pid}-*")) == sockets
    assert faithd.stop() == 0
    assert list(Path("/run/faith").glob(f"*-{faithd.process.pid}-*")) == []


@pytest.mark.usefixtures("real_root", "reserved")
def test_another_user_sees_that_there_are_daemons_it_may_not_ask(
    lab: ThreeHosts, start: Start, fork: Fork
) -> None:
    start(str(PORT))

    def look(report: Report) -> None:
        with lab.gateway.inside():
            become_nobody()
            report((running(), discovery.hidden()))

    assert fork(look).report() == ([], 1)
