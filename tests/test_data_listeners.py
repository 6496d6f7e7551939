"""Listeners for data connections: each once, paused, resumed and released."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.kernel.sockets.tcp_sockets import cookie
from faith.relay.alg.data_listeners import DataListeners
from faith.relay.tcp.listener import Listener, Reserve
from faith.relay.tcp.plane import Plane

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator


class Worker:
    """A plane with data listeners on it, and who has come."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.reserve = Reserve()
        self.came: list[int] = []
        plane = Plane(self.loop, lambda leg, events: None, lambda session: None)
        self.plane = plane
        self.listeners = DataListeners(plane, self._listener)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)

    def _listener(self, sock: _socket.socket) -> Listener:
        return Listener(sock, self._accepted, lambda *about: None, self.reserve)

    def _accepted(self, fd: int, peer: object) -> None:
        os.close(fd)
        self.came.append(fd)
        self.loop.stop()

    def connect(self) -> None:
        socket.create_connection(self.sock.getsockname()).close()

    def run(self) -> None:
        """Run the loop until somebody comes, for a second at most."""
        self.loop.call_later(1, self.loop.stop)
        self.loop.run_forever()


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.listeners.close()
    made.plane.close()
    made.reserve.close()
    made.sock.close()
    made.loop.close()


def test_a_listener_that_comes_by_two_descriptors_is_served_once(worker: Worker) -> None:
    first, second = worker.sock.dup(), worker.sock.dup()
    worker.listeners.add(first)
    worker.listeners.add(second)
    assert second.fileno() < 0
    worker.connect()
    worker.run()
    assert len(worker.came) == 1


def test_who_comes_while_listeners_are_paused_is_let_in_when_they_are_resumed(
    worker: Worker,
) -> None:
    worker.listeners.add(worker.sock.dup())
    worker.listeners.pause()
    worker.connect()
    assert select.select([worker.sock], [], [], 5)[0]
    worker.loop.call_soon(worker.loop.stop)
    worker.loop.run_forever()
    assert not worker.came
    worker.listeners.resume()
    worker.run()
    assert len(worker.came) == 1
    assert worker.listeners.release() == []


def test_paused_listeners_are_released_as_descriptors(worker: Worker) -> None:
    worker.listeners.add(worker.sock.dup())
    assert worker.listeners.release() == []
    worker.listeners.pause()
    (descriptor,) = worker.listeners.release()
    with socket.socket(fileno=descriptor) as sock:
        assert cookie(sock) == cookie(worker.sock)


def test_closing_closes_the_paused_ones_too(worker: Worker) -> None:
    sock = worker.sock.dup()
    number = sock.fileno()
    worker.listeners.add(sock)
    worker.listeners.pause()
    worker.listeners.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
