"""The way of one TCP connection, for all connections of one worker.

Steered by the kernel to one of our listeners, a connection is accepted, its destination resolved
and judged, the server dialled, the bytes pumped until both sides have ended, and the end told.
"""

from __future__ import annotations

import _socket
import errno
import logging
import time
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import cookie, original_destination, reset
from faith.relay.alg.ftp import Ftp
from faith.relay.alg.rsh import Rsh
from faith.relay.handover import Handover
from faith.relay.tcp import dial
from faith.relay.tcp.listener import Listener, Reserve, adopt
from faith.relay.tcp.overload import Shedding
from faith.relay.tcp.plane import ERR, HUP, Plane
from faith.relay.tcp.proxy_header import introduce
from faith.relay.tcp.record import Record
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.relay_settings import CLIENT, GATEWAY
from faith.relay.tcp.routing import Route, Routing
from faith.relay.tcp.session import Session
from faith.relay.tcp.source_ports import SourcePorts
from faith.relay.tcp.timeouts import Deadlines, Silence
from faith.translation import reasons
from faith.translation.reasons import KILLED, NO_PREFIX, SHED, STOPPED

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

    from faith.relay.alg.ftp_data import Supervised
    from faith.relay.tcp.admission import Admission, Limits
    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.relay_settings import Settings
    from faith.relay.tcp.session import Leg
    from faith.translation.destination import Policy

log = logging.getLogger("faith.relay")

_SOL_SOCKET, _SO_ERROR = _socket.SOL_SOCKET, _socket.SO_ERROR


class Relay:
    """Serves the listeners of one worker.

    *report* gets the record of every connection, *local* the socket of one to the gateway's own
    address, which it then owns; without *local* such a connection is closed.  FTP has to be
    *supervised*.  *counters* count, and *admission* keeps clients from having too much.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        policy: Policy,
        settings: Settings,
        report: Callable[[Record], None],
        local: Callable[[_socket.socket], None] | None,
        supervised: Supervised | None = None,
        counters: Counters | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.on_idle: Callable[[], None] = lambda: None
        self.open_sessions = 0
        self.counters = counters or Counters()
        self._admission = admission
        self._judging = admission if admission and admission.limited else None
        self._loop = loop
        self._settings = settings
        self._reserved = settings.reserved
        self._report = report
        self._local = local
        self.source_ports = SourcePorts()
        """Connects to servers and clients, for all sessions."""
        self._routing = Routing(policy)
        self._plane = Plane(loop, self._dialled, self._ended)
        self._reserve = Reserve()
        self._shedding = Shedding(loop, self._plane, self._is_ours, self._has_shed)
        self._listeners: list[Listener] = []
        self._data_listeners: list[Listener] = []
        self._steps = log.isEnabledFor(logging.DEBUG)
        self._dialling = Deadlines(loop, settings.connect_timeout, self._dial_timeout)
        times = settings.idle_timeout, settings.half_closed_timeout, settings.lifetime
        self._silences = [Silence(loop, self._plane, *times, self.counters.moved)]
        self._ftp: Ftp | None = None
        self._spoken_ports = settings.spoken_ports
        if supervised is not None:
            self._ftp = Ftp(loop, self._plane, self._routing, supervised, self)
            self._silences.append(Silence(loop, self._ftp, *times, self.counters.moved))
        self._parting: list[_socket.socket] = []
        self.handover = Handover(self, self._plane, self._dialling, self._ftp)
        """Takes sessions out of here, after :meth:`prepare`, or takes others' in."""
        self._rsh = Rsh(loop, self._plane, self._routing, self)

    @property
    def policy(self) -> Policy:
        """Return the policy that connections are judged by; a new one applies from the next on."""
        return self._routing.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._routing.policy = policy

    @property
    def settings(self) -> Settings:
        """Return the operator's settings; newly assigned ones apply at once, to all sessions.

        A session that is being dialled keeps its time limit, and an established one its protocol.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self._reserved = settings.reserved
        self._spoken_ports = settings.spoken_ports
        self._dialling.limit(settings.connect_timeout)
        for silence in self._silences:
            silence.limit(settings.idle_timeout, settings.half_closed_timeout, settings.lifetime)
        self.limit(settings.limits)

    def limit(self, limits: Limits) -> None:
        """Admit new connections by *limits*; sessions that are there count, and stay."""
        if self._admission is None:
            return
        self._admission.limit(limits)
        self._judging = self._admission if self._admission.limited else None
        if self._judging is None:
            return
        for session in self.sessions():
            if session.seat is None and session.parent is None:
                session.seat = self._judging.keep(session.client_host)

    def settle(self, session: Session) -> None:
        """Count a session that has come from another relay."""
        self.open_sessions += 1
        self.counters.opened()
        if self._judging is not None and session.parent is None:
            session.seat = self._judging.keep(session.client_host)

    def forsake(self, session: Session) -> None:
        """Count one no longer that goes to another relay."""
        self.open_sessions -= 1
        self.counters.handed_over(session)
        self._vacate(session)

    def _vacate(self, session: Session) -> None:
        if session.seat is not None and self._admission is not None:
            self._admission.leave(session.seat)
            session.seat = None

    # -- sessions ----------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        """All there are."""
        controls = self._ftp.sessions() if self._ftp else []
        return self._dialling.sessions() + self._plane.sessions() + controls

    def stage(self, session: Session) -> str:
        """Return how far *session* has come: "dialling", "open", "half-closed" or "closing"."""
        if session in self._dialling:
            return "dialling"
        if session.client.error or session.server.error:
            return "closing"
        return "half-closed" if session.client.done or session.server.done else "open"

    def kill(self, session: Session, why: str = KILLED) -> None:
        """End *session* with resets to both sides, for the reason *why* of its record."""
        if session in self._dialling:
            self._dialling.remove(session)
        elif self._ftp and session in self._ftp.sessions():
            self._ftp.end(session, why, reset=True)
            return
        self._plane.end(session, why, reset=True)

    # -- accepting ---------------------------------------------------------------------------

    def listen(self, listeners: Iterable[_socket.socket], redirected: bool = False) -> None:
        """Accept from *listeners*: non-blocking, listening, with kernel.sockets.listener's options.

        *redirected* listeners learn the original destination from SO_ORIGINAL_DST, the others
        have it as the local address of what they accept, and so have all that are of IPv4: what
        comes to these goes by the maps.
        """
        for sock in listeners:
            is_redirected = redirected and sock.family == _socket.AF_INET6
            accepted = self._accepted_redirected if is_redirected else self._accepted
            listener = Listener(sock, accepted, self._shedding.exhausted, self._reserve)
            self._listeners.append(listener)
            self._plane.watch(sock.fileno(), listener)

    def listen_for_data(self, sock: _socket.socket) -> None:
        """Accept from *sock* the data connections of encrypted FTP sessions.

        It is closed if that is done already by another descriptor.
        """
        assert self._ftp
        if any(cookie(sock) == cookie(there.sock) for there in self._data_listeners):
            sock.close()
            return
        listener = Listener(sock, self._ftp.accepted, self._shedding.exhausted, self._reserve)
        self._data_listeners.append(listener)
        self._plane.watch(sock.fileno(), listener)

    def leave(self, listeners: Iterable[_socket.socket]) -> None:
        """Accept no more from these *listeners*, which stay the caller's."""
        gone = {sock.fileno() for sock in listeners}
        for listener in [one for one in self._listeners if one.sock.fileno() in gone]:
            self._plane.unwatch(listener.sock.fileno())
            self._listeners.remove(listener)

    def stop_listening(self) -> None:
        """Accept no more; sessions go on, and *on_idle* is called when the last has ended."""
        for listener in self._listeners:
            self._plane.unwatch(listener.sock.fileno())
        self._listeners.clear()
        if not self.open_sessions:
            self._loop.call_soon(self.on_idle)

    def _is_ours(self, listener: Listener) -> bool:
        return listener in self._listeners or listener in self._data_listeners

    def _accepted(self, fd: int, peer: Peer) -> None:
        client = adopt(fd, _socket.AF_INET6 if ":" in peer[0] else _socket.AF_INET)
        local = client.getsockname()
        self.connect(client, peer, local[0], local[1])

    def _accepted_redirected(self, fd: int, peer: Peer) -> None:
        client = adopt(fd)
        try:
            packed, port = original_destination(client)
        except OSError:  # no rule redirected it: it came to one of the gateway's own addresses
            mapped, port = client.getsockname()[:2]
        else:
            mapped = _socket.inet_ntop(_socket.AF_INET6, packed)
        self.connect(client, peer, mapped, port)

    # -- resolving, judging, dialling --------------------------------------------------------

    def connect(self, client: _socket.socket, peer: Peer, mapped: str, port: int) -> None:
        """Make a session of *client*, from *peer* and to *port* of *mapped*, if it may be one."""
        route = self._route(peer[0], mapped, port)
        if self._steps:
            log.debug("a client from %s for %s port %d: %s", peer[0], mapped, port, route)
        if route.local:
            self._serve_locally(client)
            return
        if route.refused:
            self.refuse(client, peer, mapped, port, route.refused)
            return
        if self._judging is not None and self._exceeds(client, peer, mapped, port):
            return
        to = route.port or port
        try:
            server, error = self.source_ports.connect(
                route.server, to, route.source, reserved_port=to in self._reserved
            )
        except OSError as failure:
            self.refuse(client, peer, mapped, port, failure)
            return
        session = Session(client, server, peer, route, to, self._loop.time())
        session.mapped_port = port
        self.begin(session, session.server, error)

    def _route(self, client: str, mapped: str, port: int) -> Route:
        """Resolve *mapped*: by the prefixes, or if it is of IPv4 by the maps."""
        if ":" in mapped:
            return self._routing.find(client, mapped)
        route = self._routing.find_inward(client, mapped, port)
        wanted = self._settings.inward_source
        if wanted == GATEWAY:
            return Route(mapped, route.server, None, route.refused, port=route.port)
        if wanted == CLIENT and not (route.source or route.refused):
            return Route(mapped, refused=NO_PREFIX)
        return route

    def _exceeds(self, client: _socket.socket, peer: Peer, mapped: str, port: int) -> bool:
        """Refuse *client* if it exceeds a limit of the admission; return whether it was refused."""
        assert self._judging
        excess = self._judging.refuses(peer[0], self._loop.time())
        if excess:
            self.refuse(client, peer, mapped, port, excess)
        return bool(excess)

    def begin(self, session: Session, dialled: Leg, error: int) -> None:
        """Have *session*, of which *dialled* connects, with connect(2)'s *error* so far."""
        if self._judging is not None and session.parent is None:
            session.seat = self._judging.take(session.client_host, session.started)
        self.open_sessions += 1
        self.counters.opened()
        if error not in (0, errno.EINPROGRESS):
            self._dial_failed(session, _failure(dialled, error))
            return
        self._dialling.add(session, session.started)
        self._plane.dial(dialled)

    def _dialled(self, leg: Leg, events: int) -> None:
        session = leg.session
        if session.end is not None:
            return
        error = leg.sock.getsockopt(_SOL_SOCKET, _SO_ERROR) if events & (ERR | HUP) else 0
        self._dialling.remove(session)
        if error in dial.AFTERWARDS:
            leg.error = error
        if error and not leg.error:
            self._dial_failed(session, _failure(leg, error))
        else:
            self.counters.dialled(self._loop.time() - session.started)
            if self._steps:
                log.debug("connected to %s for %s", session.route.server, session.client_host)
            if session.port in self._spoken_ports and session.parent is None:
                self._speak(session, events)
            else:
                self._plane.start(leg, events)

    def _speak(self, session: Session, events: int) -> None:
        """Have *session* served by who knows its protocol, or introduce the client first."""
        settings = self._settings
        inward = session.route.port != 0
        if session.port in settings.rsh and not inward:  # theirs is a second connection
            self._rsh.take_over(session)
        elif self._ftp and session.port in (settings.inward_ftp if inward else settings.ftp):
            self._ftp.take_over(session)
        else:
            version = settings.inward_proxy if inward else settings.proxy(session.port)
            if version:
                introduce(session, version)
            self._plane.start(session.server, events)

    def _dial_timeout(self, session: Session) -> None:
        self._dial_failed(session, reasons.TIMEOUT)

    def _dial_failed(self, session: Session, kind: str) -> None:
        self._plane.end(session, kind, reset=True)

    def _serve_locally(self, client: _socket.socket) -> None:
        if self._local is None:
            client.close()
        else:
            self._local(client)

    # -- ends --------------------------------------------------------------------------------

    def refuse(
        self, client: _socket.socket, peer: Peer, mapped: str, port: int, why: str | OSError
    ) -> None:
        """Reset *client*, of which no session comes, and report it."""
        reset(client)
        if isinstance(why, OSError):
            why = self._shedding.why(why)
        self.counters.refused(why)
        self._report(Record(peer[:2], (mapped, port), why, time.time()))

    def _has_shed(self) -> None:
        self.counters.refused(SHED)

    def _ended(self, session: Session) -> None:
        self._report(session.record(self._loop.time()))
        self.open_sessions -= 1
        self.counters.ended(session)
        if session.seat is not None:
            self._vacate(session)
        if session.parent is not None:
            session.parent.data -= 1
        else:
            if self._ftp:
                self._ftp.secured.remove(session)
            self._rsh.forget(session)
        if not self.open_sessions:
            self._plane.rest()
            if not self._listeners:
                self.on_idle()

    def close(self) -> None:
        """Reset every session that is left and release everything."""
        self.stop_listening()
        if self._ftp:
            self._ftp.close()
        self._rsh.close()
        for listener in self._data_listeners:
            self._plane.retire(listener.sock)
        for session in self._dialling.sessions() + self._plane.sessions():
            self._plane.end(session, STOPPED, reset=True)
        for silence in self._silences:
            silence.close()
        self._dialling.close()
        self._plane.close()
        self._reserve.close()

    # -- handing sessions over ---------------------------------------------------------------

    def prepare(self) -> None:
        """Begin nothing more, because all sessions are to be handed over."""
        self.on_idle = lambda: None
        self.stop_listening()
        self._rsh.close()
        self._parting = [listener.sock for listener in self._data_listeners]
        self._data_listeners.clear()
        for sock in self._parting:
            self._plane.unwatch(sock.fileno())

    def data_listeners(self) -> list[int]:
        """Let go of the listeners for data connections: their descriptors, now the caller's."""
        parting, self._parting = self._parting, []
        return [sock.detach() for sock in parting]

    def stay(self) -> None:
        """Keep what is left after all; accepting stays as it is."""
        for descriptor in self.data_listeners():
            self.listen_for_data(_socket.socket(fileno=descriptor))


def _failure(leg: Leg, error: int) -> str:
    kind = dial.kind(error)
    return kind if leg is leg.session.server else f"client {kind}"
