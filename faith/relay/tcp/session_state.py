"""A session as values and descriptors, on its way from one relay to another.

A session that is frozen moves nothing; its peers notice that no more than a slow network.  The
values are fit for JSON, each by its name: what a newer program does not know it leaves, and what an
older one did not have keeps the value of a new session.
"""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import NO_SOCKET, Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from faith.relay.tcp.session import Leg

    State = dict[str, Any]

MOST_DESCRIPTORS = 6
"""Of a session: two sockets, and a pipe for each direction."""


def freeze(session: Session) -> tuple[State, list[int]]:
    """The state of *session*, and its descriptors, which are the caller's from now on.

    The plane has let go of it.
    """
    route = session.route
    legs = session.client, session.server
    state = {
        "session": {name: getattr(session, name) for name in Session.HANDED_OVER},
        "asked": session.asked,
        "is_served": session.server.sock is not NO_SOCKET,
        "route": [route.mapped, route.server, route.source, route.port],
        "legs": [leg.state() for leg in legs],
    }
    pipes = [descriptor for leg in legs for descriptor in leg.pipe or ()]
    sockets = [leg.sock.detach() for leg in legs if leg.sock is not NO_SOCKET]
    return state, [*sockets, *pipes]


def thaw(state: State, descriptors: Iterator[int]) -> Session:
    """The session whose `freeze` gave *state*; takes what is its of the *descriptors*.

    No plane knows it yet.
    """
    client = adopt(next(descriptors))
    server = adopt(next(descriptors)) if state.get("is_served", True) else NO_SOCKET
    fields = state["session"]
    peer = fields["client_host"], fields["client_port"], 0, 0
    *addresses, port = state["route"]
    route = Route(*addresses, port=port)
    session = Session(client, server, peer, route, fields["port"], fields["started"])
    for name in Session.HANDED_OVER:
        setattr(session, name, fields.get(name, getattr(session, name)))
    if asked := state.get("asked"):
        session.asked = asked[0], asked[1]
    for leg, told in zip((session.client, session.server), state["legs"], strict=True):
        _restore(leg, told, descriptors)
    session.counted = session.moved  # where it was counted
    return session


def _restore(leg: Leg, state: State, descriptors: Iterator[int]) -> None:
    leg.restore(state)
    if leg.piped:
        leg.pipe = next(descriptors), next(descriptors)


def adopt(descriptor: int) -> _socket.socket:
    """The socket of a descriptor that came from another process; it does not block."""
    sock = _socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock
