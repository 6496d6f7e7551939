"""A client of a proxy, from its first octet until its session is the plane's, or it is gone."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from faith.proxy.http_proxy import HttpProxy
from faith.proxy.protocol_choice import UnknownProtocol, protocol
from faith.proxy.proxy_events import (
    HTTP,
    SOCKS5,
    Associate,
    Bind,
    CheckUser,
    Dial,
    HangUp,
    LeaveServer,
    Refused,
    Target,
    ToClient,
    ToServer,
    Tunnel,
)
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5
from faith.proxy.socks_session import SocksSession
from faith.relay.proxy import http_date
from faith.relay.proxy.association import Association, new_socket
from faith.relay.proxy.awaited_peer import AwaitedPeer
from faith.relay.proxy.client_rules import rules_state
from faith.relay.proxy.client_session import is_served, refusal, successor
from faith.relay.proxy.http_forward import HttpForward
from faith.relay.proxy.parting import Parting
from faith.relay.proxy.server_dial import ServerDial
from faith.relay.proxy.stream_end import StreamEnd
from faith.relay.tcp.plane import ERR, HUP, IN, OUT, RDHUP
from faith.relay.tcp.session_state import adopt
from faith.translation.reasons import BAD_REQUEST, CLOSED, DEFECT, GREETING

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from faith.proxy.protocol_choice import Machine
    from faith.proxy.proxy_events import Event
    from faith.proxy.proxy_rules import ProxyRules
    from faith.relay.proxy.client_table import ClientTable
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.session import Session

    Users = Callable[[tuple[str, int]], Mapping[str, str]]

log = logging.getLogger("faith.proxy")

_MACHINES: dict[str, type[Machine]] = {one.__name__: one for one in (Socks5, Socks4, HttpProxy)}

_EDGE = RDHUP | 1 << 31  # EPOLLET: an end that cannot be acted on yet is told only once


class ProxyClient:
    """Serves the client of *session*, which has no server, by *rules*.

    *users* returns the hashes of the users of its *proxy*, which settings call by host and port.

    It has one session at a time.  HTTP can lead to several servers, one after the other: then the
    session of each ends with it, and the client goes on in another.
    """

    def __init__(
        self,
        means: ProxyMeans,
        table: ClientTable[ProxyClient],
        session: Session,
        rules: ProxyRules,
        proxy: tuple[str, int],
        users: Users,
    ) -> None:
        self.session = session
        self._means = means
        self._plane = means.plane
        self._table = table
        self._rules = rules
        self.proxy = proxy
        self._users = users
        self._client = StreamEnd("client", session.client.sock)
        self._machine: Machine | None = None
        self._dial: ServerDial | None = None
        self._peer: AwaitedPeer | None = None
        self._association: Association | None = None
        self._forward: HttpForward | None = None
        self._is_asking = False
        """Somebody of this process is asked, who has not answered yet."""
        self._tunnel: Tunnel | None = None
        self._leaving: HangUp | None = None
        self._has_dialled = False
        """It has had the session that counted when it came: the next counts as a new one."""
        self._retires = False
        self._lingers = False
        self._is_gone = False
        self._is_recorded = False
        """A record tells of the client since it came."""
        self._parting: Parting | None = None

    def start(self) -> None:
        """Begin to read: the client has the time of a greeting from now on."""
        self._table.add(self.session, self)
        self._client.interest = IN
        self._plane.watch(self._client.fd, self._ready, IN)
        self._table.keep_time(self.session, must_ask=self._must_ask)

    @property
    def stage(self) -> str:
        """The stage that lists of sessions show."""
        if self._dial is not None:
            return "dialling"
        if self._peer is not None:
            return "listening"
        if self._leaving is not None:
            return "closing"
        if not self.has_server:
            return "greeting"
        return "half-closed" if self.session.client.done else "open"

    @property
    def has_server(self) -> bool:
        """Return whether there is a server to which requests are forwarded, or many for UDP."""
        return self._forward is not None or self._association is not None

    # -- reading -----------------------------------------------------------------------------

    def _ready(self, mask: int) -> None:
        self._guard(partial(self._hear, mask))

    def _guard(self, step: Callable[[], object]) -> None:
        """Take a *step*, and then whatever it made possible; this client only meets a defect."""
        try:
            if isinstance(self._machine, HttpProxy):
                self._machine.date = http_date.now()
            step()
            self._settle()
        except Exception:
            log.exception("a defect in the proxy; the client that met it is cut")
            self.end(DEFECT, reset=True)

    def _hear(self, mask: int) -> None:
        if mask & (ERR | HUP):
            self._client.look()
        if mask & RDHUP and self._forward is not None:
            self.session.client.done = True  # for limits of time
        if self._client.error:
            self._lose_client()
        elif mask & ~OUT:
            if self._reads:
                self._read()
            else:
                self._client.is_early = True

    @property
    def _reads(self) -> bool:
        """Return whether to read the client: not while what it says could go nowhere."""
        if self._client.at_end or self._tunnel is not None:
            return False
        if self._leaving is not None:
            return True
        if self._machine is not None and not self._machine.wants_client:
            return False
        return not (self._client.waiting if self._forward is None else self._forward.is_full)

    def _read(self) -> None:
        if self._forward is not None and self._forward.moves_from_client():
            return
        data = self._client.read()
        if self._client.error:
            self._lose_client()
        elif data is None or self._leaving is not None:
            return
        elif data:
            self._do(self._from_client(data))
        elif self._machine is None:
            self._leaving = HangUp(CLOSED)
        else:
            self._do(self._machine.client_ended())

    def _from_client(self, data: bytes) -> Iterable[Event]:
        if self._machine is None:
            try:
                self._machine = protocol(data)(self._rules)
            except UnknownProtocol as unknown:
                why = f"{BAD_REQUEST}: {unknown}"
                return [Refused(None, why), HangUp(why, cut=True)]
            if isinstance(self._machine, HttpProxy):
                self._machine.date = http_date.now()
        return self._machine.from_client(data)

    def _lose_client(self) -> None:
        """The client's connection has failed: what it asked for is for nobody."""
        if self._machine is not None and self._leaving is None:
            self._do(self._machine.client_ended(self._client.end))
        self.end(self._client.end, reset=True)

    # -- doing what the machine says ---------------------------------------------------------

    def _do(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case ToClient(data):
                    self._client.put(data)
                case ToServer(data):
                    assert self._forward is not None
                    self._forward.put(data)
                case CheckUser(name, password):
                    self._check(name, password)
                case Dial(target, method):
                    self._reach(target, method)
                case Bind(target, method):
                    self._await_peer(target, method)
                case Associate(target):
                    self._associate(target)
                case LeaveServer(why):
                    self._leave_server(why)
                case Refused(target, why, method):
                    self._record_refusal(target, why, method)
                case Tunnel():
                    self._tunnel = event
                case HangUp():
                    self._leaving = event

    def _go_on(self, step: Callable[[], Iterable[Event]]) -> None:
        """Do what the machine says to something that was waited for."""
        if not self._is_gone:
            self._guard(lambda: self._do(step()))

    def _check(self, name: str, password: bytes) -> None:
        shares = self._means.accounting.shares
        client = shares.client(self.session.client_host)
        self._is_asking = True
        users = self._users(self.proxy)
        self._means.users.check(client, users, name, password, self._checked)

    def _checked(self, good: bool | None) -> None:
        machine = self._machine
        assert machine is not None
        self._is_asking = False
        self._go_on(lambda: machine.user_checked(good))

    # -- servers -----------------------------------------------------------------------------

    def _reach(self, target: Target, method: str) -> None:
        """Dial *target*, if the client may have another session after its first."""
        session, means = self.session, self._means
        if self._has_dialled and (
            why := means.accounting.excess_of_another(session.client_host, means.loop.time())
        ):
            session.method = method
            self._is_asking = True
            means.loop.call_soon(self._fail, target, why)
            return
        self._has_dialled = True
        self._begin_dial(target, method)

    def _begin_dial(self, target: Target, method: str) -> None:
        if method == HTTP:  # its record is of this server, and not of the client
            self.session.started = self.session.quiet_since = self._means.loop.time()
        self._table.dialling[self.session] = None
        self._dial = ServerDial(self._means, self.session, target, method, self._dialled)

    def _dialled(self, why: str | None) -> None:
        dial, self._dial = self._dial, None
        self._table.dialling.pop(self.session, None)
        if why is not None:
            self._fail(dial.target if dial else None, why)
        else:
            self._guard(self._connected)

    def _fail(self, target: Target | None, why: str) -> None:
        machine = self._machine
        if self._is_gone or machine is None:
            return
        self._is_asking = False
        self._record_refusal(target, why, self.session.method)
        self._go_on(lambda: machine.failed(why))

    def _connected(self) -> None:
        assert self._machine is not None
        if self.session.method == HTTP:
            self._forward = self._new_forward()
        self._do(self._machine.connected(self.session.server.sock.getsockname()[:2]))

    def _new_forward(self) -> HttpForward:
        machine = self._machine
        assert isinstance(machine, HttpProxy)
        return HttpForward(self._plane, self.session, self._client, machine, self._do, self._guard)

    # -- BIND, and UDP ASSOCIATE -------------------------------------------------------------

    def _new_peer(self, target: Target, method: str) -> AwaitedPeer:
        calls = self._listens, self._came
        self._peer = AwaitedPeer(self._means, self.session, target, method, *calls)
        return self._peer

    def _await_peer(self, target: Target, method: str) -> None:
        self._means.counters.proxy_request(method)
        self._new_peer(target, method).start()

    def _listens(self, at: tuple[str, int]) -> None:
        self._is_asking = False
        machine = self._machine
        assert machine is not None
        self._go_on(lambda: machine.connected(at))

    def _came(self, outcome: tuple[str, int] | str) -> None:
        peer, self._peer = self._peer, None
        machine = self._machine
        assert isinstance(machine, SocksSession)
        if isinstance(outcome, str):
            self._fail(peer.target if peer else None, outcome)
        else:
            self._go_on(lambda: machine.accepted(outcome))

    def _associate(self, announced: Target) -> None:
        session, means = self.session, self._means
        session.method = SOCKS5
        means.counters.proxy_request(SOCKS5)
        self._is_asking = True
        why = means.associations.refuses(session.share)
        if why is None:
            try:
                sock = new_socket(session)
            except OSError as error:
                why = means.why(error)
            else:
                association = self._new_association(sock)
                association.expect(announced)
                means.loop.call_soon(self._listens, association.bound)
                return
        means.loop.call_soon(self._fail, None, why)

    def _new_association(self, sock: _socket.socket) -> Association:
        association = Association(self._means, self.session, sock, self._guard)
        self._association = association
        self._is_recorded = True  # each destination has a record of its own
        self.session.looked_at = True  # there is no server for idle limits to look at
        return association

    # -- leaving a server --------------------------------------------------------------------

    def leave_server(self, how: str) -> None:
        """End the session with the server as *how*, which is answered as the server's own end."""
        machine, session = self._machine, self.session
        if isinstance(machine, HttpProxy):
            self._go_on(lambda: machine.server_ended(how))
        if self.session is session:
            self.end(how, reset=True)

    def _leave_server(self, why: str) -> None:
        """End the session with the server; the client goes on in another, which has none."""
        forward, old = self._forward, self.session
        if forward is None:
            return
        self._table.remove(old)
        self.session = new = successor(old, self._means.loop.time())
        self._table.add(new, self)
        self._forward = None
        self._is_recorded = True
        forward.count_all()
        old.end = why
        self._means.replaced(old, new)
        forward.leave()
        old.part()

    def _record_refusal(self, target: Target | None, why: str, method: str) -> None:
        self._means.counters.refused(why)
        now = self._means.loop.time()
        self._means.report(refusal(self.session, target, why, method, now))
        self._is_recorded = True

    # -- sending, and what to wait for -------------------------------------------------------

    def _settle(self) -> None:
        """Send what can be sent, end what has ended, and choose what to wait for."""
        if self._is_gone:
            return
        if self._tunnel is not None:
            self._open_tunnel(self._tunnel)
            return
        forward = self._forward
        if forward is None:
            self._client.flush()
        else:
            forward.flush()
        if self._client.error:
            self._lose_client()
            return
        ends = self._table.drains or self._retires
        if ends and self._machine is not None and self._machine.is_idle:
            self._leaving = self._leaving or HangUp(CLOSED)
        if self._leaving is not None and self._has_parted(self._leaving):
            return
        self._table.keep_time(self.session, must_ask=self._must_ask)
        interest = (IN if self._reads else 0) | (OUT if self._owed() else 0) or _EDGE
        self._client.wait_for(self._plane, interest)
        if self._forward is not None:
            self._forward.watch()

    def _owed(self) -> int:
        """Return how many octets for the client wait here."""
        forward = self._forward
        return len(self._client.waiting) + (0 if forward is None else forward.owed)

    def _open_tunnel(self, tunnel: Tunnel) -> None:
        """Leave the rest to the plane, with what was read already."""
        session, client, forward = self.session, self._client, self._forward
        client.flush()
        if client.error:
            self._lose_client()
            return
        early, late = tunnel.early, bytes(client.waiting) + tunnel.late
        if forward is not None:
            early = forward.release() + early
        self._leave_table()
        session.client.done = False  # its end is for the plane to pass on
        self._plane.dial(session.server)
        self._plane.start(session.server, early=early, late=late)

    # -- in another process ------------------------------------------------------------------

    @property
    def can_be_handed_over(self) -> bool:
        """Return whether nobody of this process is waited for but a server that is dialled."""
        is_asking = self._is_asking or (self._peer is not None and self._peer.is_asking)
        return not is_asking and self._tunnel is None

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of the client: what `resume` goes on from, and the descriptors that go along.

        A server that is being dialled will be dialled anew.
        """
        machine, leaving = self._machine, self._leaving
        state: dict[str, Any] = {
            "proxy": [*self.proxy],
            "rules": rules_state(self._rules),
            "machine": machine and [type(machine).__name__, machine.state()],
            "client": self._client.state(),
            "dial": self._dial and self._dial.state(),
            "leaving": leaving and [leaving.why, leaving.cut],
            "lingers": self._lingers,
            "is_recorded": self._is_recorded,
            "has_dialled": self._has_dialled,
            "forward": None,
            "peer": None,
            "association": None,
        }
        descriptors: list[int] = []
        if self._forward is not None:
            state["forward"], descriptors = self._forward.hand_over()
        elif self._peer is not None:
            state["peer"], descriptors = self._peer.hand_over()
        elif self._association is not None:
            state["association"], descriptors = self._association.hand_over()
        state["descriptors"] = len(descriptors)
        self._release()
        return state, descriptors

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state it is, with its descriptors."""
        self._client.restore(state["client"])
        if state["machine"]:
            kind, its = state["machine"]
            self._machine = _MACHINES[kind](self._rules)
            self._machine.restore(its)
        if state["leaving"]:
            self._leaving = HangUp(*state["leaving"])
        self._lingers, self._is_recorded = state["lingers"], state["is_recorded"]
        self._has_dialled = state["has_dialled"]
        if state["forward"]:
            self._forward = self._new_forward()
            self._forward.resume(state["forward"], descriptors)
        self.start()
        if state["association"]:
            sock = adopt(next(descriptors))
            self._new_association(sock).resume(state["association"], descriptors)
        if state["peer"]:
            peer = self._new_peer(Target(*state["peer"]["target"]), state["peer"]["method"])
            peer.resume(state["peer"], descriptors)
        if state["dial"]:
            *target, method = state["dial"]
            self._begin_dial(Target(*target), method)
        self._guard(lambda: None)

    # -- time --------------------------------------------------------------------------------

    @property
    def _must_ask(self) -> bool:
        if self._dial is not None or self._peer is not None or self._leaving is not None:
            return False
        return self._machine is None or self._machine.awaits_request

    def overdue(self) -> None:
        """End the wait for a request: the client's time is over."""
        machine = self._machine
        if machine is None:
            self._guard(lambda: self._do([Refused(None, GREETING), HangUp(GREETING)]))
        else:
            self._guard(lambda: self._do(machine.overdue()))

    def drain(self) -> None:
        """Hang up if nothing is asked for."""
        self._guard(lambda: None)

    # -- other settings ----------------------------------------------------------------------

    def apply(self, rules: ProxyRules) -> None:
        """Serve by other *rules* from the next request on; what is asked for already goes on."""
        self._rules = rules
        if isinstance(self._machine, HttpProxy):
            self._machine.rules = rules

    def retire(self) -> None:
        """Serve no other request, and hang up if nothing is asked for."""
        self._retires = True
        self.apply(replace(self._rules, methods=frozenset()))
        self.drain()

    # -- ends --------------------------------------------------------------------------------

    def _has_parted(self, leaving: HangUp) -> bool:
        """Send what waits and a FIN, and await the client's: a reset could overtake them."""
        if self._parting is None:
            patience = self._means.settings().half_closed_timeout
            over = partial(self._over, leaving)
            fd, loop = self._client.fd, self._means.loop
            self._parting = Parting(loop, fd, self._owed, patience, over, cut=leaving.cut)
        if self._owed():
            return False
        if not self._parting.left if leaving.cut else self._client.at_end:
            self.end(leaving.why, reset=leaving.cut)
            return True
        if not self._lingers and not leaving.cut:
            self._lingers = True
            self._client.shut_down()
        return False

    def _over(self, leaving: HangUp, has_everything: bool) -> None:
        self.end(leaving.why, reset=leaving.cut or not has_everything)

    def end(self, how: str, *, reset: bool) -> None:
        """End the client's connection by a reset or a FIN, and the session as *how*."""
        session, forward = self.session, self._forward
        if self._is_gone:
            return
        self._release()
        session.end = how
        if self._association is not None:
            self._association.close(how)
            self._association = None
        if is_served(session) or not self._is_recorded:
            self._means.ended(session)
        else:
            self._means.left(session)
        if forward is not None:
            forward.leave(reset=reset)
        elif is_served(session):
            self._plane.retire(session.server.sock, reset=reset)
        self._plane.retire(self._client.sock, reset=reset)
        session.part()

    def _release(self) -> None:
        """Serve the client no more; its socket stays open."""
        self._plane.unwatch(self._client.fd)
        self._leave_table()

    def _leave_table(self) -> None:
        self._is_gone = True
        self._table.remove(self.session)
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._peer is not None:
            self._peer.cancel()
            self._peer = None
        if self._parting is not None:
            self._parting.cancel()
            self._parting = None
