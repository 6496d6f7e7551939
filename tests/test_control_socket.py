"""The control socket: one request a connection, for who may, and nobody in anybody's way."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process import control_socket
from faith.daemon.process.channel import JsonChannel, Received
from faith.daemon.process.control_socket import Control, Request
from faith.daemon.process.loop import Loop
from faith.daemon.upgrade.pending_requests import PendingRequests
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Daemon:
    """A loop with a control socket, turned by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = Loop()
        self.kept: list[Request] = []
        commands = {
            "echo": lambda request: request.answer(said=request.words["word"]),
            "later": self.kept.append,
            "defective": lambda request: [].pop(),
        }
        self.control = Control(self.loop, path, commands)

    def turn(self, seconds: float = 0.05) -> None:
        self.loop.later(seconds, self.loop.stop)
        self.loop.run()

    def close(self) -> None:
        self.control.close()
        self.loop.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "run" / "control")
    yield daemon
    daemon.close()


@pytest.fixture
def connect(daemon: Daemon) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(daemon.path))
        yield sock


def test_it_is_its_owners_alone_and_goes_with_it(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "control")
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
    daemon.close()
    assert not daemon.path.exists()


def test_a_request_is_answered(daemon: Daemon, connect: socket.socket) -> None:
    channel = JsonChannel(connect)
    channel.send({"command": "echo", "word": "hello"})
    daemon.turn()
    assert channel.receive() == Received({"said": "hello"}, [])
    assert channel.receive() is None


def test_no_timer_outlives_an_answer(daemon: Daemon, connect: socket.socket) -> None:
    JsonChannel(connect).send({"command": "echo", "word": "hello"})
    daemon.turn()
    assert daemon.loop._until_next() is None


def test_an_answer_may_come_later(daemon: Daemon, connect: socket.socket) -> None:
    channel = JsonChannel(connect)
    channel.send({"command": "later"})
    daemon.turn()
    (request,) = daemon.kept
    with pytest.raises(BlockingIOError):
        channel.receive()
    request.fail("no")
    request.answer(good="yes")  # too late
    assert channel.receive() == Received({"error": "no"}, [])
    assert channel.receive() is None


@pytest.mark.parametrize(
    "octets",
    [b"{", b"[]", b"3", b"{}", b'{"command": "x"}', b'{"command": []}', b"\xff", b"x" * 100_000],
)
def test_nonsense_is_refused(daemon: Daemon, connect: socket.socket, octets: bytes) -> None:
    connect.send(octets)
    daemon.turn()
    answer = connect.recv(65536)
    assert b"this is no command; there are echo, later" in answer
    assert connect.recv(1) == b""


def test_who_left_is_forgotten(daemon: Daemon, connect: socket.socket) -> None:
    JsonChannel(connect).send({"command": "later"})
    daemon.turn()
    connect.close()
    daemon.kept[0].answer(nothing="heard")
    daemon.turn()


def test_who_says_nothing_is_sent_away(
    daemon: Daemon, connect: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "PATIENCE", 0.05)
    daemon.turn(0.2)
    assert connect.recv(1) == b""


def test_there_are_only_so_many_at_a_time(
    daemon: Daemon, connect: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "CLIENTS", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.connect(str(daemon.path))
        daemon.turn()
        assert other.recv(1) == b""
        JsonChannel(connect).send({"command": "echo", "word": "I was first"})
        daemon.turn()


def test_others_are_not_heard(
    daemon: Daemon, connect: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "_is_trusted", lambda sock: False)
    daemon.turn()
    assert connect.recv(1) == b""


def test_we_are_trusted(connect: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert control_socket._is_trusted(connect)
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert not control_socket._is_trusted(connect)


def test_one_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(path))
    Daemon(path).close()


def test_one_that_lives_is(daemon: Daemon) -> None:
    with pytest.raises(SetupError, match="Address already in use"):
        Daemon(daemon.path)


def test_a_file_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "control"
    path.write_text("precious")
    with pytest.raises(SetupError, match="Address already in use"):
        Daemon(path)
    assert path.read_text() == "precious"


def test_a_request_can_be_taken_and_answered_when_its_time_is_over(
    daemon: Daemon, connect: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "PATIENCE", 0.5)
    channel = JsonChannel(connect)
    channel.send({"command": "later"})
    while not daemon.kept:
        daemon.turn(0.02)
    (request,) = daemon.kept
    before = PendingRequests()
    before.add(request)
    daemon.turn(0.6)
    with pytest.raises(BlockingIOError):
        channel.receive()
    after = PendingRequests.adopt([os.dup(fd) for fd in before.state()])
    before._channels[0].close()  # as execve(2) leaves it: the copy is all there is
    after.answer(programs=2)
    assert channel.receive() == Received({"programs": 2}, [])
    assert channel.receive() is None


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC])
def test_where_it_cannot_be_written_there_is_none_and_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    def refuse(*about: object, **how: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    control, (warning,) = control_socket.opened(Loop(), tmp_path / "run" / "control", {})
    assert control is None
    assert os.strerror(number) in warning
    assert 'or "none", as its control' in warning
    assert warning in caplog.text


def test_a_path_that_is_another_daemons_is_refused(daemon: Daemon) -> None:
    with pytest.raises(SetupError, match="Address already in use"):
        control_socket.opened(daemon.loop, daemon.path, {})


def test_where_it_can_be_made_there_is_no_warning(tmp_path: Path) -> None:
    control, warnings = control_socket.opened(Loop(), tmp_path / "control", {})
    assert control
    assert warnings == []
    control.close()


def test_a_command_that_fails_is_told_and_ends_nothing(
    daemon: Daemon, connect: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    JsonChannel(connect).send({"command": "defective"})
    daemon.turn()
    received = JsonChannel(connect).receive()
    assert received
    assert "defect of this program" in received[0]["error"]
    assert "IndexError" in caplog.text
