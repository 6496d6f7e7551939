"""The FTP ALG of one worker: its control connections, and the data connections they announce."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from faith.relay import dial
from faith.relay.control import Control
from faith.relay.listener import adopt
from faith.relay.routing import Route
from faith.relay.session import Session

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from typing import Any

    from faith.relay.counters import Counters
    from faith.relay.leg import Leg
    from faith.relay.listener import Peer
    from faith.relay.plane import Plane
    from faith.relay.routing import Routing
    from faith.relay.secured import Secured
    from faith.relay.stock import Stock
    from faith.translation.ports import Ports

    OpenDoor = Callable[[_socket.socket, str, Callable[[], None]], None]


class Supervised(NamedTuple):
    """What only the privileged can do for FTP.

    *open_door* is called with a listener at a mapped address, the host that is to reach it
    whatever other faithds steer, and what to call when that is so.
    """

    stock: Stock
    secured: Secured
    open_door: OpenDoor


class Connecting(Protocol):
    """What the relay does for every session, data connections included."""

    def connect(self, client: _socket.socket, peer: Peer, mapped: str, port: int) -> None:
        """Serve *client*, which is no data connection."""

    counters: Counters

    def begin(self, session: Session, dialled: Leg, error: int) -> None:
        """Have *session*, of which *dialled* connects with that errno so far."""

    def refuse(
        self, client: _socket.socket, peer: Peer, mapped: str, port: int, why: str | OSError
    ) -> None:
        """Reset a connection that is to become no session, and report it."""


class Ftp:
    """Makes control connections of sessions to *ports*, and sessions of data connections."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        plane: Plane,
        routing: Routing,
        ports: Ports,
        supervised: Supervised,
        connecting: Connecting,
    ) -> None:
        self.loop = loop
        self.plane = plane
        self.stock, self.secured, self.open_door = supervised
        self._ports = ports
        self._routing = routing
        self._connecting = connecting
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
        for session in self.sessions():
            self.end(session, "stopped", reset=True)

    # -- data connections --------------------------------------------------------------------

    def accepted(self, fd: int, peer: Peer) -> None:
        """Somebody has come as whoever may, with an encrypted control connection."""
        client = adopt(fd)
        mapped, port = client.getsockname()[:2]
        parent = self.secured.find(peer[0], mapped)
        if port in self._ports:
            self._connecting.connect(client, peer, mapped, port)
        elif parent is None:
            self._connecting.refuse(client, peer, mapped, port, "not expected")
        else:
            self.passive(parent, client, peer[1], port, port)

    def passive(
        self, parent: Session, client: _socket.socket, client_port: int, at: int, to: int
    ) -> None:
        """The client has come to port *at*: connect it to port *to* of the server's."""
        peer = parent.client_host, client_port, 0, 0
        mapped = parent.route.mapped
        route = self._route(parent)
        if route.refused:
            self._connecting.refuse(client, peer, mapped, at, route.refused)
            return
        try:
            server, error = dial.connect(route, to, reserved_port=False)
        except OSError as failure:
            self._connecting.refuse(client, peer, mapped, at, failure)
            return
        session = Session(client, server, peer, route, to, self.loop.time())
        session.mapped_port = at
        self.counters.ftp("passive")
        self._begin(parent, session, session.server, error)

    def active(self, parent: Session, server: _socket.socket, server_port: int, to: int) -> None:
        """The server has come: connect it to port *to* of the client's, as the mapped address."""
        peer = parent.client_host, to, 0, 0
        mapped = parent.route.mapped
        route = self._route(parent)
        if route.refused:
            self._connecting.refuse(server, peer, mapped, server_port, route.refused)
            return
        try:
            client, error = dial.connect_client(mapped, parent.client_host, to)
        except OSError as failure:
            self._connecting.refuse(server, peer, mapped, server_port, failure)
            return
        session = Session(client, server, peer, route, server_port, self.loop.time())
        session.mapped_port = client.getsockname()[1]
        self.counters.ftp("active")
        self._begin(parent, session, session.client, error)

    def _route(self, parent: Session) -> Route:
        """As for a connection of its own; but the server is to see one address of ours."""
        route = self._routing.find(parent.client_host, parent.route.mapped)
        if route.local:  # the prefix has gone meanwhile
            return Route(route.mapped, refused="prefix gone")
        if parent.end is not None:
            return route
        source = parent.server.sock.getsockname()[0]
        return Route(route.mapped, route.server, source, route.refused)

    def _begin(self, parent: Session, session: Session, dialled: Leg, error: int) -> None:
        session.parent = parent
        parent.data += 1
        self._connecting.begin(session, dialled, error)
