"""A session: one relayed connection, from accept to its record, and its two legs."""

from __future__ import annotations

import _socket
import itertools
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, final

from faith.relay.tcp.record import Record, endpoint

if TYPE_CHECKING:
    from typing import Any

    from faith.relay.tcp.admission import Seat
    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.pipes import Pipe
    from faith.relay.tcp.record import Endpoint
    from faith.relay.tcp.routing import Route


_serials = itertools.count(1)
NO_SOCKET = _socket.socket.__new__(_socket.socket)
"""A socket that was never opened, of a leg that there is not yet: its descriptor is -1."""


@final
class Leg:
    """One socket of a session, and the direction that starts at it."""

    __slots__ = (
        "done",
        "ending",
        "eof",
        "error",
        "fd",
        "held",
        "moved",
        "peer",
        "pipe",
        "piped",
        "quick",
        "session",
        "size",
        "sock",
        "up",
        "urgent",
        "urgent_held",
        "watched",
    )
    HANDED_OVER = (
        "done",
        "ending",
        "eof",
        "error",
        "moved",
        "piped",
        "quick",
        "size",
        "up",
        "urgent",
        "urgent_held",
        "watched",
    )
    """Fields handed over as they are; `held` is handed over as text, the rest as descriptors."""

    peer: Leg

    def __init__(self, sock: _socket.socket, session: Session) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.session = session
        self.up = False  # connected, and the bytes may flow
        self.quick = False  # nothing held, not bulk: read and written at once
        self.size = 0  # of the last read
        self.held: bytes | memoryview | None = None  # read here, not yet taken by the peer
        self.urgent_held = False  # held is one byte, to be sent urgent
        self.pipe: Pipe | None = None
        self.piped = 0  # bytes in it
        self.ending = False  # all that will ever arrive has arrived: FIN, reset or error
        self.urgent = False  # and there is an urgent octet in it, if the peer marked one
        self.error = 0  # errno of the socket, which has failed; what arrived before is still read
        self.eof = False  # the FIN was read
        self.done = False  # and was passed on
        self.watched = False  # the peer's data found this leg full: OUT is watched for
        self.moved = 0  # bytes from here that the peer's socket took

    def state(self) -> dict[str, Any]:
        """Return the state that `restore` continues from, fit for JSON."""
        state = {name: getattr(self, name) for name in self.HANDED_OVER}
        state["held"] = None if self.held is None else b64encode(self.held).decode()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where the leg stopped whose `state` it is; a field it has not keeps its value."""
        for name in self.HANDED_OVER:
            setattr(self, name, state.get(name, getattr(self, name)))
        self.held = None if state["held"] is None else b64decode(state["held"])


class Session:
    """The two legs of a connection and what its record will say.

    A client of a proxy is a session from the beginning; its server's leg has `NO_SOCKET` until it
    is connected.  It has *asked* for a server, ``(host, port)`` with a name or an address, by a
    *method*, which is empty for any other session; *user* is empty if it gave no password.

    Times are the event loop's (seconds, monotonic); *started* is when the client was accepted.
    """

    __slots__ = (
        "asked",
        "client",
        "client_host",
        "client_port",
        "counted",
        "data",
        "end",
        "looked_at",
        "mapped_port",
        "method",
        "parent",
        "port",
        "quiet_since",
        "reset",
        "route",
        "seat",
        "seen",
        "serial",
        "server",
        "share",
        "started",
        "user",
    )
    HANDED_OVER = (
        "client_host",
        "client_port",
        "looked_at",
        "mapped_port",
        "method",
        "port",
        "quiet_since",
        "seen",
        "started",
        "user",
    )
    """Fields handed over as they are: the clock of both processes is the kernel's monotonic one."""

    def __init__(
        self,
        client: _socket.socket,
        server: _socket.socket,
        peer: Peer,
        route: Route,
        port: int,
        now: float,
    ) -> None:
        self.serial = next(_serials)  # in this process
        self.client = Leg(client, self)
        self.server = Leg(server, self)
        self.client.peer = self.server
        self.server.peer = self.client
        self.client_host, self.client_port = peer[:2]
        self.route = route
        self.port = port  # of the server's
        self.mapped_port = port  # of the mapped address: another one for FTP's data
        self.method = ""
        self.user = ""
        self.asked: Endpoint | None = None
        self.parent: Session | None = None  # the control connection, of a data connection
        self.data = 0  # data connections that are open, of a control connection
        self.seat: Seat | None = None  # where it counts, when there are limits
        self.share = 0  # the client of whose share it is
        self.started = now
        self.quiet_since = now  # no byte and no FIN since then, as far as the last look saw
        self.seen = 0  # what had moved at that look
        self.looked_at = False
        self.counted = (0, 0)  # what of `moved` the counters have
        self.end: str | None = None
        self.reset = False

    def connect(self, server: _socket.socket, route: Route, port: int) -> None:
        """Have a server, whose socket is *server*, at *port*, by *route*; nothing has moved yet."""
        self.server = Leg(server, self)
        self.client.peer = self.server
        self.server.peer = self.client
        self.route = route
        self.port = port

    def part(self) -> None:
        """Separate the legs of a session that has ended: no garbage collector has to find them."""
        for leg in self.client, self.server:
            del leg.peer, leg.session

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes delivered to the server and to the client."""
        return self.client.moved, self.server.moved

    def source(self) -> Endpoint | None:
        """Return the endpoint that the server sees; None once its socket is closed."""
        try:
            host, port = self.server.sock.getsockname()[:2]
        except OSError:
            return None
        return host, port

    def fields(self, now: float) -> dict[str, str | int | float | None]:
        """Return the fields listed for an open session, with the names of a record's."""
        source = self.source()
        server = self.route.server
        fields: dict[str, str | int | float | None] = {
            "serial": self.serial,
            "client": endpoint((self.client_host, self.client_port)),
            "mapped": endpoint((self.route.mapped, self.mapped_port)),
            "server": endpoint((server, self.port)) if server else None,
            "source": None if source is None else endpoint(source),
            "seconds": round(now - self.started, 3),
            "sent": self.client.moved,
            "received": self.server.moved,
        }
        if self.method:
            fields["method"] = self.method
        if self.user:
            fields["user"] = self.user
        if self.asked:
            fields["asked"] = endpoint(self.asked)
        return fields

    def start_record(self, now: float) -> Record:
        """Return the record of the session at its start: the server has just been dialled."""
        return Record(
            (self.client_host, self.client_port),
            (self.route.mapped, self.mapped_port),
            "",
            time.time() - (now - self.started),
            self.server.sock.getsockname()[:2],
            (self.route.server, self.port),
            method=self.method,
            asked=self.asked,
            user=self.user,
        )

    def record(self, now: float) -> Record:
        """Return the record of the session at its end; its sockets are still open."""
        seconds = now - self.started
        is_served = self.server.fd >= 0
        return Record(
            (self.client_host, self.client_port),
            (self.route.mapped, self.mapped_port),
            self.end or "",
            time.time() - seconds,
            self.server.sock.getsockname()[:2] if is_served else None,
            (self.route.server, self.port) if is_served else None,
            seconds,
            self.client.moved,
            self.server.moved,
            method=self.method,
            asked=self.asked,
            user=self.user,
        )
