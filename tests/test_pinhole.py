"""Who is let in, once, and until when."""

from __future__ import annotations

import _socket
import asyncio
import resource
import socket
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.relay.tcp import pinhole
from faith.relay.tcp.pinhole import Pinhole
from faith.relay.tcp.plane import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "127.0.0.1"


class Hall:
    """A pinhole, and who came."""

    def __init__(self, host: str = HERE, ports: range = range(65536)) -> None:
        self.loop = uvloop.new_event_loop()
        self.plane = Plane(self.loop, lambda leg, events: None, lambda session: None)
        sock = socket.create_server((HERE, 0))
        sock.setblocking(False)
        listening = _socket.socket(fileno=sock.detach())
        self.came: list[int] = []
        self.strangers: list[str] = []
        self.pinhole = Pinhole(
            self.loop, self.plane, listening, host, self._came, self.strangers.append, ports=ports
        )

    def _came(self, connection: _socket.socket, port: int) -> None:
        self.came.append(port)
        connection.close()

    def knock(self, host: str = HERE) -> int:
        """Connect, and return from which port, after everybody has had their turn."""
        with socket.create_connection((HERE, self.pinhole.port), 5, (host, 0)) as visitor:
            port: int = visitor.getsockname()[1]
            self.wait(0.05)
            return port

    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def close(self) -> None:
        self.pinhole.close()
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
    assert hall.strangers == [HERE]


def test_few_of_many_strangers_are_reported() -> None:
    hall = Hall(host="127.0.0.2")
    for number in range(10, 20):
        hall.knock(f"127.0.0.{number}")
    hall.knock("127.0.0.2")
    assert hall.strangers == [f"127.0.0.{number}" for number in range(10, 14)]
    assert len(hall.came) == 1
    hall.close()


@pytest.mark.parametrize("strangers", [0, 2])
def test_who_has_come_by_the_time_it_closes_is_let_in(hall: Hall, strangers: int) -> None:
    address = HERE, hall.pinhole.port
    before = [
        socket.create_connection(address, 5, (f"127.0.0.{9 + n}", 0)) for n in range(strangers)
    ]
    with socket.create_connection(address, 5) as visitor:
        hall.pinhole.close()
        assert hall.came == [visitor.getsockname()[1]]
        with pytest.raises(ConnectionRefusedError):
            hall.knock()
    for stranger in before:
        stranger.close()


@pytest.mark.parametrize("given_up", [False, True])
def test_who_comes_when_there_are_no_descriptors_waits(hall: Hall, given_up: bool) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def come() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        await asyncio.sleep(0.05)
        assert hall.pinhole.is_open
        if given_up:
            hall.pinhole.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await asyncio.sleep(2 * pinhole.REST)

    with socket.create_connection((HERE, hall.pinhole.port), 5) as visitor:
        try:
            hall.loop.run_until_complete(come())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert hall.came == ([] if given_up else [visitor.getsockname()[1]])


def test_it_waits_as_long_as_rfc_6384_recommends() -> None:
    assert pinhole.OPEN_FOR >= 30


def test_it_closes_when_nobody_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinhole, "OPEN_FOR", 0.05)
    hall = Hall()
    hall.wait(0.1)
    with pytest.raises(ConnectionRefusedError):
        hall.knock()
    hall.close()
