"""Questions to a running faithd, whose control socket is a real one."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from faith.cli import control_client
from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Daemon
from faith.daemon.process.channel import Channel, in_memory
from faith.errors import FaithError, SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = Callable[[Channel[Any, Any]], None]


class Answering:
    """Listens at *path*, and answers the only one who asks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: Any = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread: threading.Thread | None = None

    def answers(self, answer: Answer) -> None:
        self._thread = threading.Thread(target=self._serve, args=(answer,))
        self._thread.start()

    def _serve(self, answer: Answer) -> None:
        sock, _ = self._listener.accept()
        channel: Channel[Any, Any] = Channel(sock)
        sock.settimeout(5)
        received = channel.receive()
        self.asked = received and received[0]
        answer(channel)
        channel.close()

    def close(self) -> None:
        if self._thread:
            self._thread.join()
        self._listener.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Answering]:
    made = Answering(tmp_path / "control")
    yield made
    made.close()


def running(*controls: str | None) -> list[Daemon]:
    usual: dict[str, Any] = {"via": "route", "started": 0.0}
    return [
        Daemon(number, "web", "80", prefixes=[], sets_up=[], control=control, **usual)
        for number, control in enumerate(controls, 1)
    ]


def test_the_command_and_its_words_are_sent_and_the_answer_comes_back(daemon: Answering) -> None:
    daemon.answers(lambda channel: channel.send({"sessions": 3}))
    assert control_client.ask(daemon.path, "drain", forever=True) == {"sessions": 3}
    assert daemon.asked == {"command": "drain", "forever": True}


def test_the_only_faithd_with_a_control_socket_is_asked(
    daemon: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "running", lambda: running(None, str(daemon.path)))
    daemon.answers(lambda channel: channel.send({"good": 1}))
    assert control_client.ask(None, "reload") == {"good": 1}


@pytest.mark.parametrize(
    ("controls", "says"),
    [
        ((), "no faithd with a control socket is running"),
        ((None, None), "no faithd with a control socket is running"),
        (
            ("/run/a", None, "/run/b"),
            "several daemons run; choose one with --control: /run/a, /run/b",
        ),
    ],
)
def test_who_is_meant_must_be_clear(
    monkeypatch: pytest.MonkeyPatch, controls: tuple[str | None, ...], says: str
) -> None:
    monkeypatch.setattr(discovery, "running", lambda: running(*controls))
    with pytest.raises(FaithError, match=says):
        control_client.ask(None, "reload")


def test_one_that_hangs_is_not_said_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "running", list)
    monkeypatch.setattr(discovery, "listening", lambda: [4711])
    with pytest.raises(FaithError, match=r"^the faithd with pid 4711 does not answer: it is busy"):
        control_client.ask(None, "reload")


def test_what_could_not_be_done_is_raised(daemon: Answering) -> None:
    daemon.answers(lambda channel: channel.send({"error": "there is no session 1-7"}))
    with pytest.raises(FaithError, match="there is no session 1-7"):
        control_client.ask(daemon.path, "kill", session="1-7")


def test_an_end_without_an_answer_is_told(daemon: Answering) -> None:
    daemon.answers(lambda channel: None)
    with pytest.raises(
        FaithError, match="reload: the daemon ended the connection without an answer; see its log"
    ):
        control_client.ask(daemon.path, "reload")


def test_nobody_waits_for_ever(daemon: Answering) -> None:
    over = threading.Event()

    def answer(channel: Channel[Any, Any]) -> None:
        over.wait(5)

    daemon.answers(answer)
    with pytest.raises(SetupError, match=r"no answer within 0\.05 s"):
        control_client.ask(daemon.path, "reload", patience=0.05)
    over.set()


def test_where_nobody_listens_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"ask the faithd at {tmp_path}/none: No such file"):
        control_client.ask(tmp_path / "none", "reload")


def test_all_answers_are_gathered_with_the_text_of_their_files(daemon: Answering) -> None:
    before = os.listdir("/proc/self/fd")

    def answer(channel: Channel[Any, Any]) -> None:
        with in_memory("one\ntwo\n") as descriptor:
            channel.send({"part": 1}, [descriptor])
        channel.send({"part": 2})

    daemon.answers(answer)
    found = [*control_client.gather(daemon.path, "sessions", worker=1)]
    assert found == [({"part": 1}, "one\ntwo\n"), ({"part": 2}, "")]
    assert daemon.asked == {"command": "sessions", "worker": 1}
    assert os.listdir("/proc/self/fd") == before


def test_an_error_among_many_answers_is_raised(daemon: Answering) -> None:
    def answer(channel: Channel[Any, Any]) -> None:
        channel.send({"part": 1})
        channel.send({"error": "a worker has died"})

    daemon.answers(answer)
    parts = control_client.gather(daemon.path, "sessions")
    assert next(parts) == ({"part": 1}, "")
    with pytest.raises(FaithError, match="a worker has died"):
        next(parts)


def test_what_keeps_it_from_asking_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"No such file or directory \(no daemon listens there;"):
        control_client.ask(tmp_path / "none", "status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "dead"))
    with pytest.raises(SetupError, match=r"Connection refused .*faith status shows those that run"):
        control_client.ask(tmp_path / "dead", "status")
    assert control_client._hint(PermissionError()) == "it answers root and its own user"
    assert control_client._hint(OSError()) == ""


def test_a_daemon_that_may_not_be_asked_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "running", list)
    monkeypatch.setattr(discovery, "hidden", lambda: 1)
    with pytest.raises(FaithError, match="answers root and its own user only"):
        control_client.ask(None, "status")
