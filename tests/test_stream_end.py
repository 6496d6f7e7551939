"""One peer of a proxy: what is waited for while it is not to be read."""

from __future__ import annotations

import select
import socket

import pytest

from faith.relay.proxy.stream_end import StreamEnd
from faith.relay.tcp.plane import IN, OUT
from tests.test_plane import Bench, bench

__all__ = ["bench"]

END = select.EPOLLET


class Watched:
    """A peer that is *read* or not, the events of it that were told, and what the kernel was."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        near, self.far = socket.socketpair()
        bench.sockets += [near, self.far]
        near.setblocking(False)
        self.bench = bench
        self.read = True
        self.events: list[int] = []
        self.said: list[int] = []
        self.end = StreamEnd("client", near)
        self.end.interest = IN
        bench.plane.watch(self.end.fd, self._ready, IN)
        self._rewatch = bench.plane.rewatch
        monkeypatch.setattr(bench.plane, "rewatch", self._tell)

    def _tell(self, fd: int, events: int) -> None:
        self.said.append(events)
        self._rewatch(fd, events)

    def _ready(self, mask: int) -> None:
        self.events.append(mask)
        if self.read:
            self.end.read()
        else:
            self.end.is_early = True
        self.wait_for(IN if self.read else END)

    def wait_for(self, interest: int) -> None:
        self.read = bool(interest & IN)
        self.end.wait_for(self.bench.plane, interest)


@pytest.fixture
def watched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(bench, monkeypatch)


def test_the_kernel_is_not_told_of_a_peer_that_says_nothing(watched: Watched) -> None:
    watched.wait_for(END)
    watched.wait_for(IN)
    watched.bench.turn()
    assert not watched.said
    watched.far.send(b"x")
    watched.bench.until(lambda: bool(watched.events))
    assert not watched.said


def test_a_peer_that_is_not_to_be_read_wakes_nobody_for_long(watched: Watched) -> None:
    watched.wait_for(END)
    watched.far.send(b"x")
    watched.bench.until(lambda: bool(watched.said))
    for _ in range(5):
        watched.bench.turn()
    assert len(watched.events) <= 2
    assert watched.said == [END]
    watched.wait_for(IN)
    watched.bench.turn()
    assert watched.said == [END, IN]
    assert watched.end.read() is None, "it was read once it was to be"


def test_a_peer_that_is_to_be_written_to_is_waited_for_at_once(watched: Watched) -> None:
    watched.wait_for(OUT)
    watched.wait_for(END)
    assert watched.said == [OUT, END]
