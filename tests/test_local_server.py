"""The local server, and what it is started with."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.local_server import LocalServer
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAYS = """
import json, os, sys
def is_connection(number):
    try:
        return os.path.samestat(os.fstat(number), os.fstat(0))
    except OSError:
        return False
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "argv": sys.argv[1:],
    "environment": sorted(os.environ),
    "descriptors": [number for number in range(64) if is_connection(number)],
    "blocking": os.get_blocking(0),
    "leads": os.getsid(0) == os.getpid(),
    "blocked": int(status["SigBlk"], 16),
    "hangs_up": not int(status["SigIgn"], 16) & 1,
}))
"""
OF_SYSTEMD = (
    *("INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "MAINPID"),
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
)


def test_it_must_be_there_and_executable(tmp_path: Path) -> None:
    program = tmp_path / "telnetd"
    server = LocalServer(str(program), ("telnetd",))
    with pytest.raises(SetupError, match=rf"^local server {program}: no such file \(install it"):
        server.check()
    program.write_text("#!/bin/sh\n")
    with pytest.raises(SetupError, match=rf"^local server {program}: not executable \(chmod \+x "):
        server.check()
    program.chmod(0o755)
    server.check()


def test_a_directory_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no such file"):
        LocalServer(str(tmp_path), ("telnetd",)).check()


def test_its_name_is_that_of_the_program_unless_given() -> None:
    assert LocalServer.of(["/usr/sbin/../sbin/telnetd"]) == LocalServer(
        "/usr/sbin/telnetd", ("telnetd",)
    )
    assert LocalServer.of(["/bin/x", "y", "-z"]) == LocalServer("/bin/x", ("y", "-z"))


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection, the accepted one last."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as accepted,
    ):
        yield client, accepted


@pytest.fixture
def bad_signals() -> Iterator[None]:
    """A signal ignored and one blocked, as under nohup or in the middle of a reload."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("bad_signals")
def test_it_is_started_as_inetd_would(
    connected: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, accepted = connected
    accepted.setblocking(False)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    for name in (*OF_SYSTEMD, "FAITH_TEST"):
        monkeypatch.setenv(name, "1")
    server = LocalServer(sys.executable, ("python", "-IS", "-c", SAYS, "-x", "y"))
    pid = server.start(accepted)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE) == 0
    accepted.close()
    with client.makefile() as answer:
        said = json.loads(answer.read())
    environment = said.pop("environment")
    assert "FAITH_TEST" in environment
    assert not {*OF_SYSTEMD} & {*environment}
    assert said == {
        "argv": ["-x", "y"],
        "descriptors": [0, 1, 2],
        "blocking": True,
        "leads": True,
        "blocked": 0,
        "hangs_up": True,
    }
