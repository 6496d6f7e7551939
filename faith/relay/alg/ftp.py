"""The FTP ALG of one worker: its control connections, and the data connections they announce."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.relay.alg.control_connection import Control
from faith.relay.alg.data_connections import DataConnections
from faith.relay.tcp.listener import adopt

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from typing import Any

    from faith.relay.alg.data_connections import Connecting
    from faith.relay.alg.socket_pool import Stock
    from faith.relay.alg.tls_sessions import Secured
    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.routing import Routing
    from faith.relay.tcp.session import Session

    OpenDoor = Callable[[_socket.socket, str, Callable[[], None]], None]


class Supervised(NamedTuple):
    """What only the privileged can do for FTP.

    *stock* has sockets of IPv6, *stock4* of IPv4.  *open_door* is called with a listener at a
    mapped address, the host that is to reach it whatever other faithds steer, and what to call when
    that is so.
    """

    stock: Stock
    stock4: Stock
    secured: Secured
    open_door: OpenDoor


class Ftp:
    """Makes control connections of sessions, and sessions of data connections."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        plane: Plane,
        routing: Routing,
        supervised: Supervised,
        connecting: Connecting,
    ) -> None:
        self.loop = loop
        self.plane = plane
        self.stock, self.stock4, self.secured, self.open_door = supervised
        self._connecting = connecting
        self._data = DataConnections(loop, routing, connecting)
        self.counters = connecting.counters
        self._controls: dict[Session, Control] = {}

    def take_over(self, session: Session) -> None:
        """Serve *session*, whose server has just been connected."""
        control = self._controls[session] = Control(self, session)
        self.counters.ftp("control")
        control.start()

    def movable(self) -> list[Session]:
        """The control connections that can be handed over as they stand now."""
        return [session for session, one in self._controls.items() if one.can_be_handed_over]

    def hand_over(self, session: Session) -> tuple[dict[str, Any], list[int]]:
        """Let go of a control connection, for `resume` elsewhere: its state and descriptors."""
        return self._controls[session].hand_over()

    def resume(self, session: Session, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on with a control connection that was handed over."""
        control = self._controls[session] = Control(self, session)
        control.resume(state, descriptors)

    def forget(self, control: Control) -> None:
        """*control* has ended, or is an ordinary session from here on."""
        del self._controls[control.session]

    def sessions(self) -> list[Session]:
        """The control connections."""
        return list(self._controls)

    def end(self, session: Session, how: str, *, reset: bool) -> None:
        """End a control connection; its data connections go on."""
        self._controls[session].end(how, reset=reset)

    def close(self) -> None:
        """Reset every control connection that is left."""
        self.stock.close()
        self.stock4.close()
        for session in self.sessions():
            self.end(session, "stopped", reset=True)

    # -- data connections --------------------------------------------------------------------

    def accepted(self, fd: int, peer: Peer) -> None:
        """Somebody has come as whoever may, with an encrypted control connection."""
        client = adopt(fd)
        mapped, port = client.getsockname()[:2]
        parent = self.secured.find(peer[0], mapped)
        if port in self._connecting.settings.ftp:
            self._connecting.connect(client, peer, mapped, port)
        elif parent is None:
            self._connecting.refuse(client, peer, mapped, port, "not expected")
        else:
            self.passive(parent, client, peer[1], port, port)

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
