"""Where nothing can be accepted, nobody spins; and what is refused is told, not each by itself."""

from __future__ import annotations

import _socket
import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.relay.tcp import overload
from faith.relay.tcp.listener import Listener, Reserve
from faith.relay.tcp.overload import Overload
from faith.relay.tcp.plane import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator


class Full(_socket.socket):
    """A listening socket from which nothing can be accepted for a while."""

    error = errno.ENFILE
    asked = 0

    def _accept(self) -> tuple[int, object]:
        self.asked += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        accepted: tuple[int, object] = super()._accept()  # type: ignore[misc]
        return accepted


class Worker:
    """A plane with such a listener."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.plane = Plane(self.loop, lambda leg, events: None, lambda session: None)
        self.listens = True
        self.shed = 0
        self.accepted: list[int] = []
        self.shedding = Overload(self.loop, self.plane, lambda _: self.listens, self._shed)
        self.reserve = Reserve()
        self.sock = Full(_socket.AF_INET6, _socket.SOCK_STREAM)
        self.sock.bind(("::1", 0))
        self.sock.listen(4)
        self.sock.setblocking(False)
        listener = Listener(
            self.sock,
            lambda fd, peer: self.accepted.append(fd),
            self.shedding.exhausted,
            self.reserve,
        )
        self.plane.watch(self.sock.fileno(), listener)

    def _shed(self) -> None:
        self.shed += 1

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))  # time: a listener at rest

    def close(self) -> None:
        self.plane.close()
        self.loop.close()
        self.sock.close()
        self.reserve.close()
        for fd in self.accepted:
            os.close(fd)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def test_a_listener_rests_and_goes_on(worker: Worker) -> None:
    with socket.create_connection(worker.sock.getsockname()[:2], 5):
        worker.wait(2.5 * overload.PAUSE)
        assert worker.sock.asked <= 2 * 4, "once, and once more to reset it, each time"
        worker.sock.error = 0
        worker.wait(2 * overload.PAUSE)
    assert len(worker.accepted) == 1
    assert not worker.shed


def test_one_that_listens_no_more_stays_at_rest(worker: Worker) -> None:
    with socket.create_connection(worker.sock.getsockname()[:2], 5):
        worker.wait(0.5 * overload.PAUSE)
        worker.listens = False
        worker.sock.error = 0
        worker.wait(2 * overload.PAUSE)
    assert not worker.accepted


def test_it_is_told_once_and_summed_up(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    for error in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        assert worker.shedding.why(OSError(error, "")) == "shed: out of resources"
    worker.wait(1.1)
    assert caplog.messages == [
        "out of descriptors or memory: new connections are refused",
        "4 connections were refused for want of resources",
    ]


def test_other_errors_are_of_the_source(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    error = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    assert worker.shedding.why(error) == "no source: cannot assign requested address"
    assert not caplog.messages
