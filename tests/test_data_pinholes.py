"""Data connections of a control connection: where they come in, and where they go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.relay.alg.data_connections import DataConnections
from faith.relay.alg.ftp_data import FtpData, Supervised
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.routing import Route, Routing
from faith.relay.tcp.source_ports import SourcePorts
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.reasons import MAP_GONE, NO_PREFIX
from tests.control_bench import Bench, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.relay.tcp.session import Session

V6, V4 = "::1", "127.0.0.1"


@pytest.fixture(params=[False, True], ids=["at once", "later"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """With sockets that are there at once, or that the supervisor sends later."""
    loop = asyncio.new_event_loop()
    made = Bench(loop, slow=request.param)
    yield made
    made.close()
    loop.close()


@pytest.fixture
def control(bench: Bench) -> tuple[Peer, Peer, Session]:
    client, server, session = bench.session()
    bench.tell(server, b"220 Hello\r\n")
    bench.hears(client, b"220 Hello\r\n")
    return client, server, session


def line(bench: Bench, peer: Peer) -> bytes:
    """The next that *peer* hears."""

    def whole() -> bool:
        peer.listen()
        return peer.heard.endswith(b"\n")

    bench.until(whole)
    heard, peer.heard = peer.heard, b""
    return heard


def passive(bench: Bench, client: Peer, server: Peer, port: int) -> int:
    """Where the client is told to connect to when the server has told *port*."""
    bench.tell(client, b"EPSV\r\n")
    assert line(bench, server) == b"PASV\r\n"
    bench.tell(server, b"227 (127,0,0,1,%d,%d)\r\n" % (port >> 8, port & 255))
    told = line(bench, client)
    assert told.startswith(b"229 "), told
    return int(told.split(b"|")[3])


def accepted(bench: Bench, listener: socket.socket) -> Peer:
    """Who connects to *listener*."""
    listener.setblocking(False)
    come: list[socket.socket] = []

    def came() -> bool:
        with contextlib.suppress(BlockingIOError):
            come.append(listener.accept()[0])
        return bool(come)

    bench.until(came)
    come[0].setblocking(False)
    bench.sockets.append(come[0])
    return Peer(come[0])


def connected(bench: Bench, host: str, port: int) -> Peer:
    sock = socket.create_connection((host, port), 5)
    sock.setblocking(False)
    bench.sockets.append(sock)
    return Peer(sock)


def refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def talk(bench: Bench, one: Peer, other: Peer) -> None:
    bench.tell(one, b"from one")
    bench.hears(other, b"from one")
    bench.tell(other, b"and back")
    bench.hears(one, b"and back")


def test_the_client_comes(bench: Bench, control: tuple[Peer, Peer, Session]) -> None:
    client, server, session = control
    with socket.create_server((V4, 0)) as listener:
        port = listener.getsockname()[1]
        told = passive(bench, client, server, port)
        talk(bench, connected(bench, V6, told), accepted(bench, listener))
    (data,) = bench.begun
    assert data.parent is session
    assert (data.mapped_port, data.port) == (told, port)
    bench.until(lambda: refuses(V6, told))


def test_the_port_is_the_servers_own(bench: Bench, control: tuple[Peer, Peer, Session]) -> None:
    client, server, _ = control
    with socket.create_server((V6, 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    assert passive(bench, client, server, port) == port


def test_where_that_cannot_be_had_it_is_another(
    bench: Bench, control: tuple[Peer, Peer, Session]
) -> None:
    client, server, _ = control
    with socket.create_server((V6, 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        told = passive(bench, client, server, port)
        assert told not in (0, port)
        assert not refuses(V6, told)


def test_nor_one_of_the_systems(bench: Bench, control: tuple[Peer, Peer, Session]) -> None:
    client, server, _ = control
    assert passive(bench, client, server, 1023) >= 1024


def test_the_server_comes(bench: Bench, control: tuple[Peer, Peer, Session]) -> None:
    client, server, session = control
    with socket.create_server((V6, 0), family=socket.AF_INET6) as listener:
        bench.tell(client, b"EPRT |2|::1|%d|\r\n" % listener.getsockname()[1])
        *address, high, low = line(bench, server).split()[1].decode().split(",")
        assert ".".join(address) == V4
        at = int(high) * 256 + int(low)
        other = connected(bench, V4, at)
        talk(bench, accepted(bench, listener), other)
    (data,) = bench.begun
    assert data.parent is session
    assert refuses(V4, at)


def test_without_a_socket_there_is_none(
    bench: Bench, control: tuple[Peer, Peer, Session], caplog: pytest.LogCaptureFixture
) -> None:
    client, server, _ = control
    bench.ftp._data.close()
    bench.tell(client, b"EPSV\r\n")
    line(bench, server)
    bench.tell(server, b"227 (127,0,0,1,200,1)\r\n")
    assert line(bench, client) == b"425 Can't open data connection\r\n"
    assert "no transparent socket" in caplog.text


def test_the_next_takes_its_place(bench: Bench, control: tuple[Peer, Peer, Session]) -> None:
    client, server, _ = control
    first = passive(bench, client, server, 1)
    second = passive(bench, client, server, 2)
    assert refuses(V6, first)
    assert not refuses(V6, second)


def test_who_comes_before_that_is_let_in(bench: Bench, control: tuple[Peer, Peer, Session]) -> None:
    client, server, _ = control
    with socket.create_server((V4, 0)) as listener:
        first = passive(bench, client, server, listener.getsockname()[1])
        visitor = connected(bench, V6, first)  # and nobody has had a turn since
        bench.ftp.end(control[2], "killed", reset=True)
        talk(bench, visitor, accepted(bench, listener))


def test_none_outlives_its_control_connection(
    bench: Bench, control: tuple[Peer, Peer, Session]
) -> None:
    client, server, session = control
    told = passive(bench, client, server, 1)
    client.reset()
    bench.until(lambda: session in bench.ended)
    assert refuses(V6, told)


def test_one_that_is_asked_for_too_late_is_none(
    bench: Bench, control: tuple[Peer, Peer, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session ends while the socket is on its way."""
    client, server, session = control
    bench.tell(client, b"EPSV\r\n")
    line(bench, server)
    waiting: list[Any] = []
    monkeypatch.setattr(bench.ftp._data.pools[socket.AF_INET6], "take", waiting.append)
    bench.tell(server, b"227 (127,0,0,1,200,1)\r\n")
    bench.until(lambda: bool(waiting))
    bench.ftp.end(session, "killed", reset=True)
    sock = socket.socket(socket.AF_INET6)
    waiting[0](sock)
    assert sock.fileno() < 0


# -- addresses that several servers share ---------------------------------------------------------

MAPPED, NODE = "192.0.2.102", "192.0.2.80"
SHARED = Maps(
    [
        Map((0xC0000266, 32), (0x20010DB8_00060000_00000000_00000005, 128), Ports([(21, 21)])),
        Map((0xC0000266, 32), (0x20010DB8_00060000_00000000_00000006, 128), Ports([(5000, 5009)])),
    ]
)


@pytest.mark.parametrize(("port", "own"), [(21, True), (4999, True), (5000, False), (5010, True)])
def test_a_port_that_leads_to_another_server_is_not_used(port: int, own: bool) -> None:
    prefixes = Prefixes([Prefix.parse("2001:db8:ffff::/96")])
    routing = Routing(Policy(prefixes, Networks(32), Access.parse(""), SHARED))
    nobody: Any = SimpleNamespace(pools={}, secured=None, ask_for_pinhole=None)
    supervised = Supervised(*vars(nobody).values())
    loop = asyncio.new_event_loop()
    data = FtpData(loop, nobody, routing, supervised, nobody, Counters(), lambda session: None)
    session: Any = SimpleNamespace(
        client_host=NODE, route=Route(MAPPED, "2001:db8:6::5", port=21), mapped_port=21
    )
    assert data.is_servers_own(session, port) is own
    loop.close()


@pytest.mark.parametrize(
    ("prefix", "refused"),
    [("2001:db8:ffff::/96", [MAP_GONE]), ("64:ff9b::/96", [NO_PREFIX])],
)
def test_data_are_judged_as_their_control_connection_would_be(
    prefix: str, refused: list[str]
) -> None:
    """By the map, which has another server now, and by the client's prefix, if it has one still."""
    prefixes = Prefixes([Prefix.parse(prefix)])  # 64:ff9b::/96 must not map 192.0.2.0/24
    routing = Routing(Policy(prefixes, Networks(32), Access.parse(""), SHARED))
    told: list[str] = []

    def begin(*_: object) -> None:
        raise AssertionError("it is refused")

    def refuse(*args: object) -> None:
        told.append(str(args[-1]))

    loop = asyncio.new_event_loop()
    route = Route(MAPPED, "2001:db8:6::99", "2001:db8:ffff::c000:250", port=21)
    parent: Any = SimpleNamespace(client_host=NODE, route=route, mapped_port=21, end="closed")
    with socket.socket() as client:
        assert not DataConnections(
            loop, routing, SourcePorts(), begin, refuse, lambda *_: 0
        ).passive(parent, client, 1, 2, 3)
    assert told == refused
    loop.close()
