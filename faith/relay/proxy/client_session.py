"""The sessions of a proxy's client, and the records of what it was refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.relay.tcp.record import Record
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import NO_SOCKET, Session

if TYPE_CHECKING:
    import _socket

    from faith.proxy.proxy_events import Target
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.record import Endpoint

UNTOLD = "proxy"
"""The method of a client that has not said how it asks."""


def new_session(client: _socket.socket, peer: Endpoint, local: Endpoint, now: float) -> Session:
    """Return the session of *client*, which has come from *peer* to *local*, a proxy's address."""
    host, port = local
    session = Session(client, NO_SOCKET, peer, Route(host), 0, now)
    session.mapped_port, session.method = port, UNTOLD
    return session


def is_served(session: Session) -> bool:
    """Return whether *session* has a server."""
    return session.server.sock is not NO_SOCKET


class ClientSessions:
    """The sessions of one client, of which it has one at a time: the *current* one, and before it
    those of servers that were left."""

    def __init__(self, means: ProxyMeans, session: Session) -> None:
        self.current = session
        self.is_recorded = False
        """A record tells of the client since it came."""
        self.has_dialled = False
        """It has had the session that counted when it came: the next counts as a new one."""
        self._user = session.user
        self._means = means

    def log_in(self, user: str) -> None:
        """Have sessions be those of *user*, empty for nobody, from the next server on."""
        self._user = user
        if not is_served(self.current):
            self.current.user = user

    def excess(self) -> str | None:
        """Return the reason why the client may not dial, None if it may; then that counts."""
        if not self.has_dialled:
            self.has_dialled = True
            return None
        means = self._means
        return means.accounting.excess_of_another(self.current.client_host, means.loop.time())

    def refuse(self, target: Target | None, why: str, method: str) -> None:
        """Count and report that the client was refused *target*; it has asked for nothing then."""
        session, seconds = self.current, self._means.loop.time() - self.current.started
        session.method, session.asked = UNTOLD, None
        self.is_recorded = True
        self._means.counters.refused(why)
        self._means.report(
            Record(
                (session.client_host, session.client_port),
                (session.route.mapped, session.mapped_port),
                why,
                time.time() - seconds,
                seconds=seconds,
                method=method or UNTOLD,
                asked=None if target is None else (target.host, target.port),
                user=self._user,
            )
        )

    def replace(self, why: str) -> Session:
        """Have the client go on in another session; return the old one, which ended as *why*."""
        old = self.current
        peer = old.client_host, old.client_port
        local = old.route.mapped, old.mapped_port
        self.current = new_session(old.client.sock, peer, local, self._means.loop.time())
        self.current.user = self._user
        self.is_recorded = True
        old.end = why
        self._means.replaced(old, self.current)
        return old

    def end(self, how: str) -> None:
        """End the last session as *how*: the client has gone."""
        session = self.current
        session.end = how
        if is_served(session) or not self.is_recorded:
            self._means.ended(session)
        else:
            self._means.left(session)
