"""Resources that the FTP control connections of one worker share: sockets, data connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.relay.tcp.resets import Resets
from faith.translation.directions import V6_TO_V4
from faith.translation.reasons import NOT_MAPPED

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    from faith.relay.alg.data_connections import DataConnections
    from faith.relay.alg.socket_pool import SocketPool
    from faith.relay.alg.tls_sessions import TlsSessions
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.relay_counters import Counters
    from faith.relay.tcp.routing import Routing
    from faith.relay.tcp.session import Session

    AskForPinhole = Callable[[_socket.socket, str, Callable[[], None]], None]


class Supervised(NamedTuple):
    """The supervisor's privileged services for FTP.

    *pools* has transparent sockets of each family.  *ask_for_pinhole* is called with a listener at
    a mapped address, the host that may connect to it whatever other faithds steer, and a callback
    for the moment from which it can.
    """

    pools: Mapping[int, SocketPool]
    secured: TlsSessions
    ask_for_pinhole: AskForPinhole


class FtpData:
    """Has *data* connections made sessions, and has what it takes to let them in.

    *reset* is called with a control connection of which one peer is lost, and the other has
    acknowledged everything; `resets` has been told of it.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        plane: Plane,
        routing: Routing,
        supervised: Supervised,
        data: DataConnections,
        counters: Counters,
        reset: Callable[[Session], None],
    ) -> None:
        self.loop = loop
        self.plane = plane
        self.pools, self.secured, self.ask_for_pinhole = supervised
        self.counters = counters
        self.resets = Resets(loop, reset)
        self._routing = routing
        self._data = data

    def is_servers_own(self, session: Session, port: int) -> bool:
        """Return whether *port* of the mapped address leads to that port of its server, or nowhere.

        Maps of some ports have several servers share an IPv4 address.
        """
        route = session.route
        if route.direction is V6_TO_V4:
            return True
        there = self._routing.find(session.client_host, route.mapped, port)
        if there.refused:
            return there.refused == NOT_MAPPED
        return there.server == route.server and there.port == port

    def passive(
        self, parent: Session, client: _socket.socket, client_port: int, at: int, to: int
    ) -> None:
        """The client has come to port *at*: connect it to port *to* of the server's."""
        if self._data.passive(parent, client, client_port, at, to):
            self.counters.ftp("passive")

    def active(self, parent: Session, server: _socket.socket, server_port: int, to: int) -> None:
        """The server has come: connect it to port *to* of the client's, as the mapped address."""
        if self._data.active(parent, server, server_port, to):
            self.counters.ftp("active")

    def close(self) -> None:
        """Close the sockets in the pools, and wait for nobody."""
        self.resets.close()
        for pool in self.pools.values():
            pool.close()
