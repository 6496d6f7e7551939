"""Data connections: the sessions that another session brings about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from faith.translation.directions import V6_TO_V4
from faith.translation.reasons import MAP_GONE, PREFIX_GONE

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.routing import Routing
    from faith.relay.tcp.session import Leg
    from faith.relay.tcp.source_ports import SourcePorts

    Begin = Callable[[Session, Leg, int], None]
    Refuse = Callable[[_socket.socket, Peer, str, int, str | OSError], None]
    Dscp = Callable[[_socket.socket, Route, int], int]


class DataConnections:
    """Makes sessions of connections that a *parent* has led here; each is judged when it comes.

    *source_ports* connects; *begin* is called with a session, its leg that connects, and the errno
    of connect(2); *refuse* with a connection, its peer, address and port, and the reason why it
    becomes no session.  *dscp* returns the traffic class to connect with, given an accepted
    connection, a route, and the service's port.  *over_share* is asked for a client, by its
    address, why it may have no further session, and returns None if it may.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        routing: Routing,
        source_ports: SourcePorts,
        begin: Begin,
        refuse: Refuse,
        dscp: Dscp,
        over_share: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._loop = loop
        self._routing = routing
        self._source_ports = source_ports
        self._dscp = dscp
        self._begin_session = begin
        self.refuse = refuse
        self._over_share = over_share

    def passive(
        self, parent: Session, client: _socket.socket, client_port: int, at: int, to: int
    ) -> bool:
        """The client has come to port *at*: connect it to port *to* of the server's.

        False if it was refused.
        """
        peer = parent.client_host, client_port, 0, 0
        mapped = parent.route.mapped
        route = self._route(parent)
        if refused := route.refused or self._over_share(parent.client_host):
            self.refuse(client, peer, mapped, at, refused)
            return False
        try:
            traffic_class = self._dscp(client, parent.route, parent.port)
            server, error = self._source_ports.connect(
                route.server,
                to,
                route.source,
                client=parent.client_host,
                traffic_class=traffic_class,
            )
        except OSError as failure:
            self.refuse(client, peer, mapped, at, failure)
            return False
        session = Session(client, server, peer, route, to, self._loop.time())
        session.mapped_port = at
        self._begin(parent, session, session.server, error)
        return True

    def active(
        self,
        parent: Session,
        server: _socket.socket,
        server_port: int,
        to: int,
        *,
        reserved_port: bool = False,
    ) -> bool:
        """The server has come: connect it to port *to* of the client's, as the mapped address.

        *reserved_port* as in `dial`.  False if it was refused.
        """
        peer = parent.client_host, to, 0, 0
        mapped = parent.route.mapped
        route = self._route(parent)
        if refused := route.refused or self._over_share(parent.client_host):
            self.refuse(server, peer, mapped, server_port, refused)
            return False
        try:
            client, error = self._source_ports.connect(
                parent.client_host,
                to,
                mapped,
                reserved_port=reserved_port,
                traffic_class=self._dscp(server, parent.route, parent.port),
            )
        except OSError as failure:
            self.refuse(server, peer, mapped, server_port, failure)
            return False
        session = Session(client, server, peer, route, server_port, self._loop.time())
        session.mapped_port = client.getsockname()[1]
        self._begin(parent, session, session.client, error)
        return True

    def _route(self, parent: Session) -> Route:
        """As for a connection of its own; but the server is to see one address of ours."""
        route = self._judged(parent)
        if route.local:  # the prefix has gone meanwhile
            return Route(route.mapped, refused=PREFIX_GONE)
        if parent.end is not None:
            return route
        source = parent.server.sock.getsockname()[0]
        return Route(route.mapped, route.server, source, route.refused, port=route.port)

    def _judged(self, parent: Session) -> Route:
        """Return the route that a control connection like *parent* would get now."""
        old = parent.route
        new = self._routing.find(parent.client_host, old.mapped, parent.mapped_port)
        if old.direction is V6_TO_V4:
            return new
        refused = new.refused or (None if new.server == old.server else MAP_GONE)
        return Route(old.mapped, old.server, old.source, refused, port=old.port)

    def _begin(self, parent: Session, session: Session, dialled: Leg, error: int) -> None:
        session.parent = parent
        parent.data += 1
        self._begin_session(session, dialled, error)
