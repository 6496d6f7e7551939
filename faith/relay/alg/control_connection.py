"""An FTP control connection: the translator's events done, on the two legs of a session."""

from __future__ import annotations

import _socket
import fcntl
import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faith.ftp import (
    V4_TO_V6,
    V6_TO_V4,
    CloseData,
    GoTransparent,
    Hangup,
    Log,
    OpenActive,
    OpenPassive,
    ToClient,
    ToServer,
    Translator,
)
from faith.kernel.sockets.tcp_sockets import stream_socket
from faith.relay.alg.pinhole import Doorway
from faith.relay.alg.send_buffer import Outbox
from faith.relay.tcp.plane import ERR, IN, OUT
from faith.relay.tcp.record import broken, endpoint
from faith.relay.tcp.routing import number
from faith.relay.tcp.session_state import adopt
from faith.translation.reasons import CLOSED

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Iterable, Iterator
    from typing import Any

    from faith.ftp import Event
    from faith.relay.alg.ftp import Ftp
    from faith.relay.tcp.leg import Leg
    from faith.relay.tcp.session import Session

log = logging.getLogger("faith.ftp")

CHUNK = 4096
"""Octets of a read: commands and replies are short."""
BACKLOG = 8
"""Connections that may wait at a data listener: one is wanted, strangers may be in front of it."""
LINGER = 5.0
"""Seconds that both peers have to hang up after we did."""

_EDGE = 1 << 31  # EPOLLET: a HUP that cannot be acted on yet is then told only once
_SIOCATMARK = 0x8905
_SHUT_WR = _socket.SHUT_WR


class _Side:
    """One leg, and what waits to be sent on it."""

    def __init__(self, name: str, leg: Leg) -> None:
        self.name = name
        self.leg = leg
        self.outbox = Outbox(leg.sock)
        self.interest = 0


class _Expected(NamedTuple):
    """A data connection: the client if *passive*, else the server, comes *at* one port of ours.

    It is connected *to* that port of the other's.
    """

    doorway: Doorway
    passive: bool
    to: int
    at: int


class Control:
    """Serves *session*, whose server has just been connected, until it ends or is encrypted.

    Back-pressure: neither side is read while octets for the other wait, or while the translator
    does not want it.
    """

    def __init__(self, ftp: Ftp, session: Session) -> None:
        self.session = session
        self._ftp = ftp
        self._plane = ftp.plane
        self._steps = log.isEnabledFor(logging.DEBUG)
        self._client = _Side("client", session.client)
        self._server = _Side("server", session.server)
        self.source: str = session.server.sock.getsockname()[0]
        self._inward = bool(session.route.port)
        self._alg = Translator(
            V4_TO_V6 if self._inward else V6_TO_V4,
            client=number(session.client_host),
            mapped=number(session.route.mapped),
            source=number(self.source),
        )
        self._doorways: dict[int, _Expected] = {}
        self._secured = False
        self._steering = False
        self._hanging_up = False
        self._linger: TimerHandle | None = None

    def start(self) -> None:
        """Take the session over from the plane."""
        self._plane.unwatch(self.session.server.fd)
        self._watch_legs()
        self._settle()

    def _watch_legs(self) -> None:
        for side in (self._client, self._server):
            self._plane.watch(side.leg.fd, partial(self._ready, side), _EDGE)

    def end(self, how: str, *, reset: bool) -> None:
        """End the session with RSTs or FINs, and nobody is waited for any more."""
        if self.session.end is not None:
            return
        self._let_go()
        self._plane.end(self.session, how, reset=reset)

    def _let_go(self) -> None:
        for side in (self._client, self._server):
            self._plane.unwatch(side.leg.fd)
        for expected in self._doorways.values():
            expected.doorway.close()
        self._doorways.clear()
        if self._linger is not None:
            self._linger.cancel()
        self._ftp.forget(self)

    # -- in another process ------------------------------------------------------------------

    @property
    def can_be_handed_over(self) -> bool:
        """Whether it waits for nobody but its peers."""
        return not self._steering and not self._alg.waits

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of the session: what `resume` goes on from, and the descriptors that go along."""
        still = [(number, one) for number, one in self._doorways.items() if one.doorway.is_open]
        state = {
            "alg": self._alg.state(),
            "outboxes": [side.outbox.state() for side in (self._client, self._server)],
            "doorways": [
                (number, one.passive, one.to, one.at, one.doorway.until) for number, one in still
            ],
            "secured": self._secured,
            "hanging_up": self._hanging_up,
            "lingers": self._linger is not None,
        }
        descriptors = [one.doorway.hand_over() for _, one in still]
        self._let_go()
        return state, descriptors

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state it is, with its descriptors."""
        self._alg.restore(state["alg"])
        for side, waiting in zip((self._client, self._server), state["outboxes"], strict=True):
            side.outbox.restore(waiting)
        for listener, passive, to, at, until in state["doorways"]:
            sock = adopt(next(descriptors))
            self._expect(listener, sock, to, at, passive=passive, until=until)
            if passive or self._has_source:
                self._ftp.open_door(sock, self._host(passive=passive), lambda: None)
        self._secured = state["secured"]
        self._hanging_up = state["hanging_up"]
        self._watch_legs()
        if state["lingers"]:
            self._linger_on()
        self._watch()

    # -- reading -----------------------------------------------------------------------------

    def _ready(self, side: _Side, mask: int) -> None:
        try:
            if mask & ERR:
                error = side.leg.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                if error:
                    self._broken(side, error)
                    return
            if mask & ~OUT and self._reads(side):
                self._read(side)
            self._settle()
        except Exception:
            # The plane would call again, and again: it is this session's end.
            log.exception("a defect in the FTP ALG; the session that met it is cut")
            self.end("defect", reset=True)

    def _reads(self, side: _Side) -> bool:
        if side.leg.eof or self._secured:
            return False
        if self._hanging_up:
            return True
        if side is self._client:
            return self._alg.wants_client and not self._server.outbox
        return self._alg.wants_server and not self._client.outbox

    def _read(self, side: _Side) -> None:
        # recv stops in front of an urgent octet, and then this is where it is.
        urgent = fcntl.ioctl(side.leg.fd, _SIOCATMARK, b"\0\0\0\0") != b"\0\0\0\0"
        try:
            data = side.leg.sock.recv(1 if urgent else CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(side, error.errno)
            return
        if not data:
            side.leg.eof = True
        elif self._hanging_up:
            pass  # said too late
        elif side is self._client:
            self._do(self._alg.from_client(data, urgent))
        else:
            self._do(self._alg.from_server(data))

    # -- doing what the translator says ------------------------------------------------------

    def _do(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._steps:
                log.debug("%s: %r", self._name(), event)
            match event:
                case ToClient(data):
                    self._client.outbox.put(data)
                case ToServer(data, urgent):
                    self._server.outbox.put(data, urgent=urgent)
                case OpenPassive():
                    stock = self._ftp.stock4 if self._inward else self._ftp.stock
                    stock.take(partial(self._open_passive, event))
                case OpenActive() if self._has_source:
                    stock = self._ftp.stock if self._inward else self._ftp.stock4
                    stock.take(partial(self._open_at_source, event))
                case OpenActive():
                    self._open_active(event)
                case CloseData(listener):
                    self._close_doorway(listener)
                case GoTransparent():
                    self._secured = True
                    if not self._inward:  # else every port of the address comes to us anyway
                        self._steering = True
                        self._ftp.secured.add(self.session, self._steered)
                case Hangup():
                    self._hanging_up = True
                case Log(peer, text, detail):
                    self._tell(peer, text, detail)

    def _steered(self) -> None:
        """The client may hear that AUTH was accepted: where it may connect to then, reaches us."""
        self._steering = False
        self._settle()

    def _tell(self, peer: str, text: str, detail: str = "") -> None:
        log.warning("FTP %s: the %s: %s%s", self._name(), peer, text, detail and f" ({detail})")

    def _name(self) -> str:
        session = self.session
        client = endpoint((session.client_host, session.client_port))
        return f"{client} to {endpoint((session.route.mapped, session.mapped_port))}"

    # -- data connections --------------------------------------------------------------------

    def _open_passive(self, event: OpenPassive, sock: _socket.socket | None) -> None:
        """Listen for the client on *sock*; None if there is no transparent socket to be had."""
        port = event.port if event.same_port else 0
        self._open(event, (self.session.route.mapped, port), sock)

    @property
    def _has_source(self) -> bool:
        """Whether the server knows us by an address that somebody may steer."""
        return self._inward or self.session.route.source is not None

    def _open_at_source(self, event: OpenActive, sock: _socket.socket | None) -> None:
        """Listen for the server on *sock*, at such an address."""
        self._open(event, (self.source, 0), sock)

    def _open(
        self,
        event: OpenPassive | OpenActive,
        address: tuple[str, int],
        sock: _socket.socket | None,
    ) -> None:
        passive = isinstance(event, OpenPassive)
        if self.session.end is not None:
            if sock is not None:
                sock.close()
        elif sock is None:
            self._do(self._alg.refused("no transparent socket"))
            self._settle()
        elif self._listen(sock, address, event, passive=passive):
            opened = partial(self._opened, sock.getsockname()[1])
            if passive or self.source == self.session.route.source:
                self._ftp.open_door(sock, self._host(passive=passive), opened)
            else:  # an address of the gateway's own, where nobody steers
                opened()
        else:
            self._settle()

    def _opened(self, port: int) -> None:
        """The peer may hear of *port*: it gets there."""
        if self.session.end is None:
            self._do(self._alg.listening(port))
            self._settle()

    def _open_active(self, event: OpenActive) -> None:
        """Listen for the server at the address it knows us by."""
        try:
            sock = stream_socket(_socket.AF_INET)
        except OSError as error:
            self._do(self._alg.refused(str(error.strerror)))
        else:
            if self._listen(sock, (self.source, 0), event, passive=False):
                self._do(self._alg.listening(sock.getsockname()[1]))

    def _listen(
        self,
        sock: _socket.socket,
        address: tuple[str, int],
        event: OpenPassive | OpenActive,
        *,
        passive: bool,
    ) -> bool:
        """Let the peer in at *address*, once; or tell the translator why not, and return False."""
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            self._do(self._alg.refused(str(error.strerror)))
            return False
        port: int = sock.getsockname()[1]
        self._expect(event.listener, sock, event.port, port, passive=passive)
        return True

    def _expect(
        self,
        listener: int,
        sock: _socket.socket,
        to: int,
        at: int,
        *,
        passive: bool,
        until: float | None = None,
    ) -> None:
        """Let in the client if *passive*, else the server, *at* that port of *sock*'s."""
        host = self._host(passive=passive)
        came = partial(self._client_came if passive else self._server_came, to, at)
        doorway = Doorway(self._ftp.loop, self._plane, sock, host, came, self._turned_away, until)
        self._doorways[listener] = _Expected(doorway, passive, to, at)

    def _host(self, *, passive: bool) -> str:
        """Who comes: the client if *passive*, else the server."""
        return self.session.client_host if passive else self.session.route.server

    def _close_doorway(self, listener: int) -> None:
        expected = self._doorways.pop(listener, None)
        if expected is not None:
            expected.doorway.close()

    def _turned_away(self, host: str) -> None:
        self._tell("gateway", "a data connection of somebody else was refused", host)

    def _client_came(self, to: int, at: int, client: _socket.socket, port: int) -> None:
        self._ftp.passive(self.session, client, port, at, to)

    def _server_came(self, to: int, at: int, server: _socket.socket, port: int) -> None:
        self._ftp.active(self.session, server, port, to)

    # -- sending, and the ends ---------------------------------------------------------------

    def _settle(self) -> None:
        """Send what can be sent, pass on what has ended, and choose what to wait for."""
        if self.session.end is not None:
            return
        if self._steering:
            self._watch()
            return
        for side, other in self._both():
            try:
                other.leg.moved += side.outbox.flush()
                if other.leg.eof and not other.leg.done and not side.outbox:
                    other.leg.done = True
                    side.leg.sock.shutdown(_SHUT_WR)
            except OSError as error:
                self._broken(side, error.errno)
                return
        if self._client.outbox or self._server.outbox:
            self._watch()
        elif self._is_over():
            self.end(CLOSED, reset=False)
        elif self._secured:
            self._hand_over()
        else:
            if self._hanging_up and self._linger is None:
                self._hang_up()
            self._watch()

    def _both(self) -> tuple[tuple[_Side, _Side], ...]:
        return (self._client, self._server), (self._server, self._client)

    def _is_over(self) -> bool:
        client, server = self.session.client, self.session.server
        if self._hanging_up:
            return self._linger is not None and client.eof and server.eof
        # A client that waits for a reply of a server that has ended would not be read any more.
        return server.done and (client.done or not self._alg.wants_client)

    def _watch(self) -> None:
        for side, _ in self._both():
            interest = (IN if self._reads(side) else 0) | (
                OUT if side.outbox and not self._steering else 0
            ) or _EDGE
            if interest != side.interest:
                side.interest = interest
                self._plane.rewatch(side.leg.fd, interest)

    def _hand_over(self) -> None:
        """Leave the rest, which nobody but the peers can read, to the plane."""
        if self._steps:
            log.debug("%s: encrypted from here on", self._name())
        self._let_go()
        self._ftp.counters.ftp("encrypted")
        self._plane.dial(self.session.server)
        self._plane.start(self.session.server)

    def _hang_up(self) -> None:
        """Send FINs, and read on for a while: closing at once could take the last reply back."""
        self._linger_on()
        for side, other in self._both():
            if not other.leg.done:
                other.leg.done = True
                try:
                    side.leg.sock.shutdown(_SHUT_WR)
                except OSError as error:
                    self._broken(side, error.errno)
                    return

    def _linger_on(self) -> None:
        end = partial(self.end, "out of step", reset=True)
        self._linger = self._ftp.loop.call_later(LINGER, end)

    def _broken(self, side: _Side, error: int | None) -> None:
        self.end(broken(side.name, error), reset=True)
