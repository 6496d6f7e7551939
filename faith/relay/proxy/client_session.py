"""The session of a proxy's client while it has no server, and the record of what it was refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.relay.tcp.record import Record
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import NO_SOCKET, Session

if TYPE_CHECKING:
    import _socket

    from faith.proxy.proxy_events import Target
    from faith.relay.tcp.record import Endpoint

UNTOLD = "proxy"
"""The method of a client that has not said how it asks."""


def new_session(client: _socket.socket, peer: Endpoint, local: Endpoint, now: float) -> Session:
    """Return the session of *client*, which has come from *peer* to *local*, a proxy's address."""
    host, port = local
    session = Session(client, NO_SOCKET, peer, Route(host), 0, now)
    session.mapped_port, session.method = port, UNTOLD
    return session


def successor(session: Session, now: float) -> Session:
    """Return another session of the same client, for the time when *session* has ended."""
    peer = session.client_host, session.client_port
    local = session.route.mapped, session.mapped_port
    return new_session(session.client.sock, peer, local, now)


def is_served(session: Session) -> bool:
    """Return whether *session* has a server."""
    return session.server.sock is not NO_SOCKET


def refusal(session: Session, target: Target | None, why: str, method: str, now: float) -> Record:
    """Return the record that *session*'s client was refused *target*, and have it asked nothing.

    *now* is the event loop's time: the record lasts from the beginning of the session.
    """
    session.method, session.asked = UNTOLD, None
    seconds = now - session.started
    return Record(
        (session.client_host, session.client_port),
        (session.route.mapped, session.mapped_port),
        why,
        time.time() - seconds,
        seconds=seconds,
        method=method or UNTOLD,
        asked=None if target is None else (target.host, target.port),
    )
