"""The way of one TCP connection, for all connections of one worker.

Steered by the kernel to one of our listeners, a connection is accepted, its destination resolved
and judged, the server dialled, the bytes pumped until both sides have ended, and the end told.
"""

from __future__ import annotations

import _socket
import errno
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import dscp_of, original_destination, reset
from faith.relay.alg.data_connections import DataConnections
from faith.relay.alg.data_listeners import DataListeners
from faith.relay.alg.ftp import Ftp
from faith.relay.alg.rsh import Rsh
from faith.relay.handover import Handover
from faith.relay.proxy.association_table import AssociationTable
from faith.relay.proxy.proxies import Forwarded, Proxies
from faith.relay.proxy.proxy_means import ProxyMeans
from faith.relay.proxy.user_check import UserCheck
from faith.relay.tcp import dial
from faith.relay.tcp.accounting import Accounting
from faith.relay.tcp.listener import Listener, Reserve, adopt
from faith.relay.tcp.overload import Overload
from faith.relay.tcp.plane import ERR, HUP, Plane
from faith.relay.tcp.proxy_header import introduce
from faith.relay.tcp.record import Record
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.routing import Route, Routing
from faith.relay.tcp.session import Session
from faith.relay.tcp.source_ports import SourcePorts
from faith.relay.tcp.timeouts import IdleTimeouts, StageTimeouts
from faith.translation.address import family_of, text
from faith.translation.directions import V6_TO_V4
from faith.translation.reasons import DISPLACED, KILLED, SHED, STOPPED, TIMEOUT

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

    from faith.relay.alg.ftp_data import Supervised
    from faith.relay.proxy.name_search import Names
    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.relay.tcp.admission import Admission
    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.relay_settings import Settings
    from faith.relay.tcp.session import Leg
    from faith.relay.tcp.session_shares import SessionShares
    from faith.translation.destination import Policy

log = logging.getLogger("faith.relay")

_LOOKED_AT = 64
"""Sessions that are dialling, among which one is found to make room."""
_SOL_SOCKET, _SO_ERROR = _socket.SOL_SOCKET, _socket.SO_ERROR


class Relay:
    """Serves the listeners of one worker.

    *report* gets the record of every connection, *begun* every session whose server has just been
    dialled, *local* the socket of a connection to the gateway's own address, which it then owns;
    without *local* such a connection is closed.  FTP has to be *supervised*.  *counters* count;
    *admission*, and *shares* under pressure, keep clients from having too much.  *idle* is called
    when the last session has ended and nothing listens any more.  So many *workers* serve alike.
    *names* looks names up for the clients of proxies, which without it can ask for addresses only.
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
        shares: SessionShares | None = None,
        workers: int = 1,
        *,
        begun: Callable[[Session], object] | None = None,
        idle: Callable[[], object] = lambda: None,
        names: Names | None = None,
    ) -> None:
        self._idle = idle
        self._is_giving = False
        self._counters = counters or Counters()
        self._accounting = Accounting(self._counters, admission, shares, self._displace)
        self._loop = loop
        self._settings = settings
        self._reserved = settings.reserved
        self._report = report
        self._begun = begun
        self._local = local or _socket.socket.close
        self._routing = Routing(policy, settings.v4_to_v6.source)
        self._plane = Plane(loop, self._dialled, self._ended)
        self._source_ports = SourcePorts(
            time.monotonic, self._accounting.shares, self._plane.sample, workers
        )
        self._reserve = Reserve()
        self._shedding = Overload(loop, self._plane, self._is_ours, self._has_shed)
        self._listeners: list[Listener] = []
        self._data_listeners = DataListeners(
            self._plane,
            lambda sock: Listener(
                sock, self._data_accepted, self._shedding.exhausted, self._reserve
            ),
        )
        self._steps = log.isEnabledFor(logging.DEBUG)
        failed = partial(self._dial_failed, kind=TIMEOUT)
        self._dialling = StageTimeouts(loop, settings.connect_timeout, failed)
        times = settings.idle_timeout, settings.half_closed_timeout, settings.lifetime
        self._idle_timeouts = [IdleTimeouts(loop, self._plane, *times)]
        calls = self._begin, self._refuse, self._dscp, self._accounting.over_share
        data = DataConnections(loop, self._routing, self._source_ports, *calls)
        self._ftp: Ftp | None = None
        self._spoken_ports = settings.spoken_ports
        if supervised is not None:
            self._ftp = Ftp(loop, self._plane, self._routing, supervised, data, self._counters)
            self._idle_timeouts.append(IdleTimeouts(loop, self._ftp, *times))
        self._rsh = Rsh(loop, self._plane, data)
        means = ProxyMeans(
            loop=loop,
            plane=self._plane,
            policy=lambda: self.policy,
            settings=lambda: self._settings,
            source_ports=self._source_ports,
            accounting=self._accounting,
            counters=self._counters,
            users=UserCheck(loop),
            associations=AssociationTable(
                loop, settings.datagrams, self._counters, self._accounting.shares.limit
            ),
            names=names,
            why=self._shedding.why,
            report=report,
            begun=begun or (lambda session: None),
            ended=self._ended,
            replaced=self._replaced,
            left=self._left,
            take_transparent=supervised and (lambda one, use: supervised.pools[one].take(use)),
            ask_for_pinhole=supervised and supervised.ask_for_pinhole,
        )
        self._proxies = Proxies(means, self._shedding.exhausted, self._reserve)
        self.handover = Handover(
            self._accounting,
            self._plane,
            self._dialling,
            self._data_listeners,
            self._ftp,
            self._proxies,
        )
        """Takes sessions out of here, after :meth:`prepare`, or takes others' in."""
        forwarded = Forwarded(self._proxies)
        self._idle_timeouts.append(IdleTimeouts(loop, forwarded, *times))

    def fill_ports(self) -> tuple[int, int]:
        """Return how full the source ports are: see `SourcePorts.fill`."""
        return self._source_ports.fill()

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
        self._routing.set_source(settings.v4_to_v6.source)
        self._dialling.limit(settings.connect_timeout)
        for timeouts in self._idle_timeouts:
            timeouts.limit(settings.idle_timeout, settings.half_closed_timeout, settings.lifetime)
        self._proxies.limit(settings.greeting_timeout)
        self._accounting.limit(settings.limits, self.sessions())

    @property
    def open_sessions(self) -> int:
        """Return the number of sessions that have not ended here, dialling ones included."""
        return self._accounting.open_sessions

    # -- sessions ----------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        """All there are."""
        others = self._proxies.sessions() + (self._ftp.sessions() if self._ftp else [])
        return self._dialling.sessions() + self._plane.sessions() + others

    def stage(self, session: Session) -> str:
        """Return how far *session* has come: "dialling", "open", "half-closed" or "closing".

        A proxy's client that has not asked for a server yet, or for the next, is in its "greeting".
        """
        if self._proxies.holds(session):
            return self._proxies.stage(session)
        if session in self._dialling:
            return "dialling"
        if session.client.error or session.server.error:
            return "closing"
        return "half-closed" if session.client.done or session.server.done else "open"

    def kill(self, session: Session, why: str = KILLED) -> None:
        """End *session* with resets to both sides, for the reason *why* of its record."""
        if session in self._dialling:
            self._dialling.remove(session)
        elif self._proxies.holds(session):
            self._proxies.end(session, why, reset=True)
            return
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

    def serve_proxies(self, proxies: Iterable[tuple[_socket.socket, ProxySettings]]) -> None:
        """Serve clients of proxies on these listeners, by these settings, and on no others.

        The sockets stay the caller's; those that are to go have to be open until this returns.
        Of clients that were accepted before, those that keep a connection of HTTP are served by
        these, too.
        """
        self._proxies.serve(proxies)

    def listen_for_data(self, sock: _socket.socket) -> None:
        """Accept from *sock* the data connections of encrypted FTP sessions.

        It is closed if that is done already by another descriptor.
        """
        self._data_listeners.add(sock)

    def leave(self, listeners: Iterable[_socket.socket]) -> None:
        """Accept no more from these *listeners*, which stay the caller's."""
        gone = {sock.fileno() for sock in listeners}
        for listener in [one for one in self._listeners if one.sock.fileno() in gone]:
            self._plane.unwatch(listener.sock.fileno())
            self._listeners.remove(listener)

    def stop_listening(self) -> None:
        """Accept no more; sessions go on, and *idle* is called when the last has ended."""
        for listener in self._listeners:
            self._plane.unwatch(listener.sock.fileno())
        self._listeners.clear()
        self._proxies.drain(hang_up=not self._is_giving)
        if not self.open_sessions:
            self._loop.call_soon(self._idled)

    def _is_ours(self, listener: Listener) -> bool:
        ours = self._listeners, self._data_listeners, self._proxies
        return any(listener in some for some in ours)

    def _accepted(self, fd: int, peer: Peer) -> None:
        client = adopt(fd, family_of(peer[0]))
        local = client.getsockname()
        self._connect(client, peer, local[0], local[1])

    def _accepted_redirected(self, fd: int, peer: Peer) -> None:
        client = adopt(fd)
        try:
            packed, port = original_destination(client)
        except OSError:  # no rule redirected it: it came to one of the gateway's own addresses
            mapped, port = client.getsockname()[:2]
        else:
            mapped = text(packed)
        self._connect(client, peer, mapped, port)

    def _data_accepted(self, fd: int, peer: Peer) -> None:
        client = adopt(fd)
        mapped, port = client.getsockname()[:2]
        if port in self._settings.ftp:  # the kernel steers all ports of the address here
            self._connect(client, peer, mapped, port)
        else:
            assert self._ftp
            self._ftp.accepted(client, peer, mapped, port)

    # -- resolving, judging, dialling --------------------------------------------------------

    def _connect(self, client: _socket.socket, peer: Peer, mapped: str, port: int) -> None:
        """Make a session of *client*, from *peer* and to *port* of *mapped*, if it may be one."""
        route = self._routing.find(peer[0], mapped, port)
        if self._steps:
            log.debug("a client from %s for %s port %d: %s", peer[0], mapped, port, route)
        if route.local:
            if excess := self._accounting.excess_of_local(peer[0], self._loop.time()):
                self._refuse(client, peer, mapped, port, excess)
            else:
                self._local(client)
            return
        if route.refused:
            self._refuse(client, peer, mapped, port, route.refused)
            return
        if excess := self._accounting.excess(peer[0], self._loop.time()):
            self._refuse(client, peer, mapped, port, excess)
            return
        to = route.port or port
        try:
            server, error = self._source_ports.connect(
                route.server,
                to,
                route.source,
                reserved_port=to in self._reserved,
                client=peer[0],
                traffic_class=self._dscp(client, route, to),
            )
        except OSError as failure:
            self._refuse(client, peer, mapped, port, failure)
            return
        session = Session(client, server, peer, route, to, self._loop.time())
        session.mapped_port = port
        self._begin(session, session.server, error)

    def _dscp(self, accepted: _socket.socket, route: Route, port: int) -> int:
        """Return the traffic class to connect with for *accepted*, of a service at *port*."""
        return dscp_of(accepted) if port in self._settings.dscp_ports(route.direction) else 0

    def _begin(self, session: Session, dialled: Leg, error: int) -> None:
        """Have *session*, of which *dialled* connects, with connect(2)'s *error* so far."""
        self._accounting.begun(session)
        if self._begun is not None:
            self._begun(session)
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
            self._counters.dialled(self._loop.time() - session.started)
            if self._steps:
                log.debug("connected to %s for %s", session.route.server, session.client_host)
            if session.port in self._spoken_ports and session.parent is None:
                self._speak(session, events)
            else:
                self._plane.start(leg, events)

    def _speak(self, session: Session, events: int) -> None:
        """Have *session* served by who knows its protocol, or introduce the client first."""
        settings, direction, port = self._settings, session.route.direction, session.port
        if port in settings.rsh and direction is V6_TO_V4:  # else no second connection is relayed
            self._rsh.take_over(session)
        elif self._ftp and port in settings.ftp_ports(direction):
            self._ftp.take_over(session, encrypted_data=port not in settings.unencrypted_data)
        else:
            version = settings.proxy(direction, port)
            if version:
                introduce(session, version)
            self._plane.start(session.server, events)

    def _dial_failed(self, session: Session, kind: str) -> None:
        self._plane.end(session, kind, reset=True)

    # -- ends --------------------------------------------------------------------------------

    def _displace(self, client: str) -> bool:
        """Have a session that is dialling make room for one of *client*, if one is to."""
        some = self._dialling.oldest(_LOOKED_AT) + self._proxies.oldest(_LOOKED_AT)
        session = self._accounting.shares.displaceable(client, some)
        if session is None:
            return False
        self.kill(session, DISPLACED)
        return True

    def _refuse(
        self, client: _socket.socket, peer: Peer, mapped: str, port: int, why: str | OSError
    ) -> None:
        """Reset *client*, of which no session comes, and report it."""
        reset(client)
        if isinstance(why, OSError):
            why = self._shedding.why(why)
        self.report_refused(peer, mapped, port, why)

    def report_refused(self, peer: Peer, mapped: str, port: int, why: str) -> None:
        """Count and report a connection that was refused."""
        self._counters.refused(why)
        self._report(Record(peer[:2], (mapped, port), why, time.time()))

    def _has_shed(self) -> None:
        self._counters.refused(SHED)

    def _ended(self, session: Session) -> None:
        self._report(session.record(self._loop.time()))
        self._accounting.ended(session)
        if session.parent is not None:
            session.parent.data -= 1
        else:
            if self._ftp:
                self._ftp.secured.remove(session)
            self._rsh.forget(session)
        self._rest()

    def _replaced(self, session: Session, new: Session) -> None:
        self._report(session.record(self._loop.time()))
        self._accounting.replaced(session, new)

    def _left(self, session: Session) -> None:
        self._accounting.left(session)
        self._rest()

    def _rest(self) -> None:
        if not self.open_sessions:
            self._plane.rest()
            self._idled()

    def _idled(self) -> None:
        if not (self._is_giving or self._listeners or self._proxies.listens):
            self._idle()

    def close(self) -> None:
        """Reset every session that is left and release everything."""
        self.stop_listening()
        if self._ftp:
            self._ftp.close()
        self._rsh.close()
        self._proxies.close()
        self._data_listeners.close()
        for session in self._dialling.sessions() + self._plane.sessions():
            self._plane.end(session, STOPPED, reset=True)
        for timeouts in self._idle_timeouts:
            timeouts.close()
        self._dialling.close()
        self._plane.close()
        self._reserve.close()

    # -- handing sessions over ---------------------------------------------------------------

    def prepare(self) -> None:
        """Begin nothing more, because all sessions are to be handed over."""
        self._is_giving = True
        self.stop_listening()
        self._rsh.close()
        self._data_listeners.pause()

    def stay(self) -> None:
        """Keep what is left after all; accepting stays as it is."""
        self._is_giving = False
        self._data_listeners.resume()


def _failure(leg: Leg, error: int) -> str:
    kind = dial.kind(error)
    return kind if leg is leg.session.server else f"client {kind}"
