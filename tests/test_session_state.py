"""A session as values and descriptors: what it was, it is again."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from faith.relay.tcp.relay_counters import BYTES, LAYOUT, OPEN, Counters
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from faith.relay.tcp.session_state import MOST_DESCRIPTORS, adopt, freeze, thaw
from faith.translation.directions import V4_TO_V6
from tests.test_plane import tcp_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

Sides = tuple[socket.socket, socket.socket, Session]


@pytest.fixture
def sides() -> Iterator[Sides]:
    """The client's own end, the server's own end, and a session with a pipe in each direction."""
    (client, client_leg), (server, server_leg) = tcp_pair(), tcp_pair()
    route = Route("192.0.2.102", "2001:db8:6::2", "2001:db8:ffff::c000:250", port=22)
    session = Session(client_leg, server_leg, ("192.0.2.1", 40000, 0, 0), route, 22, 100.5)
    session.mapped_port, session.quiet_since, session.seen = 2222, 101.5, 7
    session.looked_at = True
    session.client.moved, session.server.moved = 10, 20
    for leg, word in ((session.client, b"to the server"), (session.server, b"to the client")):
        leg.pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        leg.piped = os.write(leg.pipe[1], word)
    yield client, server, session
    for sock in (client, server):
        sock.close()


def close(session: Session) -> None:
    for leg in (session.client, session.server):
        leg.sock.close()
        for descriptor in leg.pipe or ():
            os.close(descriptor)


def travel(session: Session, **other: Any) -> Session:
    """The session as another process has it; *other* is what the state has in other words."""
    state, descriptors = freeze(session)
    assert len(descriptors) == MOST_DESCRIPTORS == 6
    rest = iter([*descriptors, 1 << 20])
    came = thaw(json.loads(json.dumps(state)) | other, rest)
    assert list(rest) == [1 << 20], "what is not its own is left"
    return came


def test_all_of_it_comes(sides: Sides) -> None:
    client, server, session = sides
    was = {name: getattr(session, name) for name in Session.HANDED_OVER}
    legs = [leg.state() for leg in (session.client, session.server)]
    came = travel(session)
    assert {name: getattr(came, name) for name in Session.HANDED_OVER} == was
    assert [leg.state() for leg in (came.client, came.server)] == legs
    route = came.route
    assert (route.mapped, route.server, route.source, route.port) == (
        *("192.0.2.102", "2001:db8:6::2", "2001:db8:ffff::c000:250"),
        22,
    )
    came.client.sock.send(b"to the client")
    assert client.recv(100) == b"to the client"
    came.server.sock.send(b"to the server")
    assert server.recv(100) == b"to the server"
    for leg, word in ((came.client, b"to the server"), (came.server, b"to the client")):
        assert leg.pipe
        assert os.read(leg.pipe[0], 100) == word
        with pytest.raises(BlockingIOError):
            leg.sock.recv(1)
    close(came)


def test_a_field_that_an_older_program_did_not_have_is_as_a_new_sessions(sides: Sides) -> None:
    _, _, session = sides
    state, descriptors = freeze(session)
    del state["session"]["quiet_since"]
    came = thaw(state, iter(descriptors))
    assert came.route.direction is V4_TO_V6
    assert came.quiet_since == 100.5, "as a new session's"
    close(came)


def test_what_a_newer_program_says_is_left(sides: Sides) -> None:
    _, _, session = sides
    close(travel(session, colour="green"))


def test_what_was_counted_there_is_not_counted_here(sides: Sides) -> None:
    _, _, session = sides
    cells = [0] * LAYOUT.size
    counters = Counters(cells)
    came = travel(session)
    counters.opened()
    came.client.moved += 1
    came.server.moved += 2
    came.end = "closed"
    counters.ended(came)
    assert LAYOUT.of(BYTES, cells) == [1, 2]
    assert LAYOUT.of(OPEN, cells) == [0]
    close(came)


def test_what_is_adopted_does_not_block() -> None:
    near, far = socket.socketpair()
    sock = adopt(near.detach())
    with far, pytest.raises(BlockingIOError):
        sock.recv(1)
    sock.close()


def test_what_a_client_of_a_proxy_asked_for_comes_along(sides: Sides) -> None:
    _, _, session = sides
    session.method, session.asked = "connect", ("www.example.org", 443)
    came = travel(session)
    assert (came.method, came.asked) == ("connect", ("www.example.org", 443))
    close(came)
