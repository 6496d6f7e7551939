"""A session's record and what is told of it: two real legs."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from faith.relay.tcp.relay_counters import BYTES, LAYOUT, OPEN, Counters
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import NO_SOCKET, Session
from tests.test_plane import tcp_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTE = Route("2001:db8:ffff::c000:250", "192.0.2.80")


@pytest.fixture
def session() -> Iterator[Session]:
    pairs = tcp_pair(), tcp_pair()
    (_, client), (_, server) = pairs
    session = Session(client, server, ("2001:db8:6::2", 40000, 0, 0), ROUTE, 23, 100.0)
    session.client.moved, session.server.moved = 10, 20
    session.mapped_port = 2023
    yield session
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_its_record(session: Session) -> None:
    before = time.time()
    session.end = "server reset"
    record = session.record(101.5)
    assert before - 1.5 <= record.started <= time.time() - 1.5
    host, port = session.server.sock.getsockname()
    fields = record.fields()
    assert fields == {
        "event": "end",
        "protocol": "tcp",
        "client": "2001:db8:6::2",
        "client_port": 40000,
        "mapped": "2001:db8:ffff::c000:250",
        "mapped_port": 2023,
        "source": host,
        "source_port": port,
        "server": "192.0.2.80",
        "server_port": 23,
        "started": round(record.started, 6),
        "seconds": 1.5,
        "sent": 10,
        "received": 20,
        "end": "server reset",
    }


def test_the_record_of_its_start(session: Session) -> None:
    before = time.time()
    record = session.start_record(100.25)
    assert before - 0.25 <= record.started <= time.time() - 0.25
    at_the_end = session.record(101.5)
    for name in ("client", "mapped", "source", "server"):
        assert getattr(record, name) == getattr(at_the_end, name)
    assert record.event == "start"


def test_a_source_of_ipv6_is_an_address_and_a_port(session: Session) -> None:
    """The socket tells a flow label and a scope with it."""
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::1", 0))
        inward = Session(session.client.sock, server, ("192.0.2.1", 1, 0, 0), ROUTE, 23, 100.0)
        assert inward.record(101).source == ("::1", server.getsockname()[1])


def test_a_record_before_the_end_names_none(session: Session) -> None:
    assert session.record(101.5).end == ""


def test_what_is_told_while_it_goes_on(session: Session) -> None:
    assert session.fields(102.25049) == {
        "serial": session.serial,
        "client": "[2001:db8:6::2]:40000",
        "mapped": "[2001:db8:ffff::c000:250]:2023",
        "server": "192.0.2.80:23",
        "source": "{}:{}".format(*session.server.sock.getsockname()),
        "seconds": 2.25,
        "sent": 10,
        "received": 20,
    }


def test_it_begins_with_nothing(session: Session) -> None:
    new = Session(session.client.sock, session.server.sock, ("::1", 1, 0, 0), ROUTE, 23, 100.0)
    assert new.serial == session.serial + 1
    assert (new.client.peer, new.server.peer) == (new.server, new.client)
    assert (new.client.session, new.server.session) == (new, new)
    assert (new.started, new.quiet_since) == (100.0, 100.0)
    assert (new.port, new.mapped_port) == (23, 23)
    assert (new.parent, new.data, new.seat, new.end) == (None, 0, None, None)
    assert (new.seen, new.looked_at, new.reset) == (0, False, False)
    assert new.counted == new.moved == (0, 0)
    for leg in (new.client, new.server):
        assert leg.fd == leg.sock.fileno()
        flags = leg.up, leg.quick, leg.urgent_held, leg.ending, leg.urgent, leg.eof, leg.done
        assert not any((*flags, leg.watched, leg.size, leg.piped, leg.error, leg.moved))
        assert (leg.held, leg.pipe) == (None, None)


def test_each_octet_is_counted_once(session: Session) -> None:
    """While it goes on, when it is handed over and at its end."""
    cells = [0] * LAYOUT.size
    counters = Counters(cells)
    counters.opened()
    for sent, received in ((10, 20), (15, 20), (15, 21)):
        session.client.moved, session.server.moved = sent, received
        counters.moved(session)
        assert session.counted == (sent, received)
        assert LAYOUT.of(BYTES, cells) == [sent, received]
    session.client.moved += 1
    session.end = "closed"
    counters.ended(session)
    assert LAYOUT.of(BYTES, cells) == [16, 21]
    assert LAYOUT.of(OPEN, cells) == [0]


def test_a_client_of_a_proxy_is_one_before_it_has_a_server() -> None:
    (_near, client), (_far, server) = pairs = tcp_pair(), tcp_pair()
    session = Session(client, NO_SOCKET, ("192.0.2.7", 40000), Route("192.0.2.1"), 0, 100.0)
    session.mapped_port = 1080
    assert session.fields(101.0) == {
        "serial": session.serial,
        "client": "192.0.2.7:40000",
        "mapped": "192.0.2.1:1080",
        "server": None,
        "source": None,
        "seconds": 1.0,
        "sent": 0,
        "received": 0,
    }
    session.method, session.asked = "socks5", ("www.example.org", 443)
    session.connect(server, Route("192.0.2.1", "2001:db8::80"), 443)
    assert session.client.peer is session.server
    assert session.server.peer is session.client
    fields = session.fields(101.0)
    assert fields["server"] == "[2001:db8::80]:443"
    assert (fields["method"], fields["asked"]) == ("socks5", "www.example.org:443")
    for record in session.start_record(101.0), session.record(101.0):
        assert (record.method, record.asked) == ("socks5", ("www.example.org", 443))
    for pair in pairs:
        for sock in pair:
            sock.close()
