"""The pump of inetd mode, on loopback; tests/netns/test_inetd_mode.py has it in its place."""

from __future__ import annotations

import random
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from faith.relay.inetd import blocking_relay as module
from faith.relay.inetd.blocking_relay import Pair
from faith.relay.tcp.pipes import PipePool

if TYPE_CHECKING:
    from collections.abc import Iterator


def connection(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """The far end, and ours as the relay has it."""
    far = socket.create_connection(listener.getsockname(), 10)
    ours, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    ours.setblocking(False)
    return far, ours


class Session:
    """A pair at work in a thread, and the sockets of its client and server."""

    def __init__(self, idle: float = 0, half_closed: float = 0) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            (self.client, a), (self.server, b) = connection(listener), connection(listener)
        self.pair = Pair(a, b, idle, half_closed)
        self.ours = a, b
        self.end = ""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.end = self.pair.run()

    def wait(self) -> str:
        """Why it ended."""
        self._thread.join(10)
        return self.end

    def close(self) -> None:
        for far in (self.client, self.server):
            far.close()
        self._thread.join(10)
        for ours in self.ours:
            ours.close()


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    yield session
    session.close()


def send(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def test_counts_what_each_side_took(session: Session) -> None:
    send(session.client, b"to the server")
    assert read_all(session.server) == b"to the server"
    send(session.server, b"back")
    assert read_all(session.client) == b"back"
    assert session.wait() == "closed"
    assert (session.pair.client.moved, session.pair.server.moved) == (13, 4)


@pytest.mark.parametrize("pipes", [True, False])
def test_bulk_with_and_without_pipes(monkeypatch: pytest.MonkeyPatch, pipes: bool) -> None:
    if not pipes:
        monkeypatch.setattr(PipePool, "take", lambda pool: None)
    session = Session()
    data = random.Random(4).randbytes(10_000_000)
    threading.Thread(target=send, args=(session.client, data)).start()
    assert read_all(session.server) == data
    session.server.close()
    assert session.wait() == "closed"
    session.close()


def test_small_data_after_bulk(session: Session) -> None:
    session.client.sendall(bytes(module.CHUNK * 4))
    left = module.CHUNK * 4
    while left:
        left -= len(session.server.recv(left))
    for _ in range(3):
        session.client.sendall(b"small")
        assert session.server.recv(100) == b"small"


def test_reset_after_the_fin(session: Session) -> None:
    # The client has closed altogether: what the server then sends is answered with RST.
    session.client.close()
    assert read_all(session.server) == b""
    session.server.sendall(b"to nobody")
    assert session.wait() == "client reset"


@pytest.mark.parametrize(("idle", "half_closed"), [(0.05, 0), (0, 0.05)])
def test_limits(idle: float, half_closed: float) -> None:
    session = Session(idle, half_closed)
    if half_closed:
        session.client.shutdown(socket.SHUT_WR)
    assert session.wait() == ("idle half-closed" if half_closed else "idle")
    session.close()
