"""Who is let in, once, and until when."""

from __future__ import annotations

import _socket
import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.relay.alg import pinhole
from faith.relay.alg.pinhole import Doorway
from faith.relay.tcp.plane import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "127.0.0.1"


class Hall:
    """A doorway, and who came."""

    def __init__(self, host: str = HERE, ports: range = range(65536)) -> None:
        self.loop = uvloop.new_event_loop()
        self.plane = Plane(self.loop, lambda leg, events: None, lambda session: None)
        sock = socket.create_server((HERE, 0))
        sock.setblocking(False)
        listening = _socket.socket(fileno=sock.detach())
        self.came: list[int] = []
        self.strangers: list[str] = []
        self.doorway = Doorway(
            self.loop, self.plane, listening, host, self._came, self.strangers.append, ports=ports
        )

    def _came(self, connection: _socket.socket, port: int) -> None:
        self.came.append(port)
        connection.close()

    def knock(self) -> int:
        """Connect, and return from which port, after everybody has had their turn."""
        with socket.create_connection((HERE, self.doorway.port), 5) as visitor:
            port: int = visitor.getsockname()[1]
            self.wait(0.05)
            return port

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def close(self) -> None:
        self.doorway.close()
        self.plane.close()
        self.loop.close()


@pytest.fixture
def hall(request: pytest.FixtureRequest) -> Iterator[Hall]:
    made = Hall(**getattr(request, "param", {}))
    yield made
    made.close()


def test_one_is_let_in_and_nobody_after(hall: Hall) -> None:
    port = hall.knock()
    assert hall.came == [port]
    with pytest.raises(ConnectionRefusedError):
        hall.knock()


@pytest.mark.parametrize(
    "hall", [{"host": "127.0.0.2"}, {"ports": range(512, 1024)}], indirect=True
)
def test_others_are_reset_and_it_stays_open(hall: Hall) -> None:
    hall.knock()
    hall.knock()
    assert not hall.came
    assert hall.strangers == [HERE, HERE]


def test_it_waits_as_long_as_rfc_6384_recommends() -> None:
    assert pinhole.OPEN_FOR >= 30


def test_it_closes_when_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinhole, "OPEN_FOR", 0.05)
    hall = Hall()
    hall.wait(0.1)
    with pytest.raises(ConnectionRefusedError):
        hall.knock()
    hall.close()
