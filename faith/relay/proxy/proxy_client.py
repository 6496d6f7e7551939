"""A client of a proxy, from its first octet until its session is the plane's, or it is gone."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import (
    Associate,
    Bind,
    CheckUser,
    Dial,
    HangUp,
    LeaveServer,
    Refused,
    ToClient,
    ToServer,
    Tunnel,
)
from faith.relay.proxy.client_protocol import ClientProtocol
from faith.relay.proxy.client_requests import ClientRequests
from faith.relay.proxy.client_rules import rules_state
from faith.relay.proxy.client_session import ClientSessions, is_served
from faith.relay.proxy.http_forward import HttpForward
from faith.relay.proxy.parting import Parting
from faith.relay.proxy.stream_end import StreamEnd
from faith.relay.tcp.plane import ERR, HUP, IN, OUT, RDHUP
from faith.translation.reasons import CLOSED, DEFECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from faith.proxy.proxy_events import Event
    from faith.proxy.proxy_rules import ProxyRules
    from faith.relay.proxy.client_table import ClientTable
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.session import Session

    Users = Callable[[tuple[str, int]], Mapping[str, str]]

log = logging.getLogger("faith.proxy")

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
        self._means = means
        self._plane = means.plane
        self._table = table
        self.proxy = proxy
        self._users = users
        self._sessions = ClientSessions(means, session)
        self._client = StreamEnd("client", session.client.sock)
        self._protocol = ClientProtocol(rules)
        parts = self._sessions, self._protocol, self._do, self._guard
        self._requests = ClientRequests(means, table, *parts)
        self._forward: HttpForward | None = None
        self._tunnel: Tunnel | None = None
        self._parting: Parting | None = None
        self._retires = False
        self._is_gone = False

    def start(self) -> None:
        """Begin to read: the client has the time of a greeting from now on."""
        self._table.add(self.session, self)
        self._client.interest = IN
        self._plane.watch(self._client.fd, self._ready, IN)
        self._table.keep_time(self.session, must_ask=self._must_ask)

    @property
    def session(self) -> Session:
        """The session that the client has now."""
        return self._sessions.current

    @property
    def stage(self) -> str:
        """The stage that lists of sessions show."""
        if self._requests.stage:
            return self._requests.stage
        if self._parting is not None:
            return "closing"
        if not self.has_server:
            return "greeting"
        return "half-closed" if self.session.client.done else "open"

    @property
    def has_server(self) -> bool:
        """Return whether there is a server to which requests are forwarded, or many for UDP."""
        return self._forward is not None or self._requests.has_association

    # -- reading -----------------------------------------------------------------------------

    def _ready(self, mask: int) -> None:
        self._guard(partial(self._hear, mask))

    def _guard(self, step: Callable[[], object]) -> None:
        """Take a *step*, and then whatever it made possible; this client only meets a defect."""
        try:
            self._protocol.set_clock()
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
        elif mask & RDHUP and self._requests.awaits_peer:
            self._do(self._protocol.client_ended())
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
        if self._parting is not None:
            return True
        if not self._protocol.wants_client:
            return False
        return not (self._client.waiting if self._forward is None else self._forward.is_full)

    def _read(self) -> None:
        if self._forward is not None and self._forward.moves_from_client():
            return
        data = self._client.read()
        if self._client.error:
            self._lose_client()
        elif data is None or self._parting is not None:
            return
        elif data:
            self._do(self._protocol.from_client(data))
        else:
            self._do(self._protocol.client_ended())

    def _lose_client(self) -> None:
        """The client's connection has failed: what it asked for is for nobody."""
        if self._parting is None:
            self._do(self._protocol.client_ended(self._client.end))
        self.end(self._client.end, reset=True)

    # -- doing what the machine says ---------------------------------------------------------

    def _do(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case ToClient(data):
                    self._client.put(data)
                case ToServer(data):
                    if self._forward is None:
                        self._forward = self._new_forward()
                    self._forward.put(data)
                case CheckUser(name, password):
                    self._requests.check(self._users(self.proxy), name, password)
                case Dial(target, method):
                    self._requests.reach(target, method)
                case Bind(target, method):
                    self._requests.await_peer(target, method)
                case Associate(target):
                    self._requests.associate(target)
                case LeaveServer(why):
                    self._leave_server(why)
                case Refused(target, why, method):
                    self._sessions.refuse(target, why, method)
                case Tunnel():
                    self._tunnel = event
                case HangUp():
                    self._part(event)

    def _new_forward(self) -> HttpForward:
        """Return a forward to the server of the session, which has just been connected."""
        machine = self._protocol.machine
        assert isinstance(machine, HttpProxy)
        return HttpForward(self._plane, self.session, self._client, machine, self._do, self._guard)

    # -- leaving a server --------------------------------------------------------------------

    def leave_server(self, how: str) -> None:
        """End the session with the server as *how*, which is answered as the server's own end."""
        machine, session = self._protocol.machine, self.session
        if isinstance(machine, HttpProxy):
            self._guard(lambda: self._do(machine.server_ended(how)))
        if self.session is session:
            self.end(how, reset=True)

    def _leave_server(self, why: str) -> None:
        """End the session with the server; the client goes on in another, which has none."""
        forward, self._forward = self._forward, None
        if forward is None:
            return
        forward.count_all()
        self._table.remove(self.session)
        old = self._sessions.replace(why)
        self._table.add(self.session, self)
        forward.leave()
        old.part()

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
        if ends and self._protocol.is_idle:
            self._part(HangUp(CLOSED))
        if self._parting is not None and self._parting.has_come():
            self._over(True)
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
        return self._requests.can_be_handed_over and self._tunnel is None

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of the client: what `resume` goes on from, and the descriptors that go along."""
        parting, forward = self._parting, None
        asked, descriptors = self._requests.hand_over()
        if self._forward is not None:
            forward, descriptors = self._forward.hand_over()
        state: dict[str, Any] = {
            "proxy": [*self.proxy],
            "rules": rules_state(self._protocol.rules),
            "machine": self._protocol.state(),
            "client": self._client.state(),
            "leaving": parting and [parting.leaving.why, parting.leaving.cut],
            "lingers": parting is not None and parting.lingers,
            "is_recorded": self._sessions.is_recorded,
            "has_dialled": self._sessions.has_dialled,
            "forward": forward,
            "descriptors": len(descriptors),
            **asked,
        }
        self._release()
        return state, descriptors

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state it is, with its descriptors."""
        self._client.restore(state["client"])
        self._protocol.restore(state["machine"])
        self._sessions.is_recorded = state["is_recorded"]
        self._sessions.has_dialled = state["has_dialled"]
        if state["forward"]:
            self._forward = self._new_forward()
            self._forward.resume(state["forward"], descriptors)
        if state["leaving"]:
            self._part(HangUp(*state["leaving"]), lingers=state["lingers"])
        self.start()
        self._requests.resume(state, descriptors)
        self._guard(lambda: None)

    # -- time, and other settings ------------------------------------------------------------

    @property
    def _must_ask(self) -> bool:
        if self._requests.stage or self._parting is not None:
            return False
        return self._protocol.awaits_request

    def overdue(self) -> None:
        """End the wait for a request: the client's time is over."""
        self._guard(lambda: self._do(self._protocol.overdue()))

    def drain(self) -> None:
        """Hang up if nothing is asked for."""
        self._guard(lambda: None)

    def apply(self, rules: ProxyRules) -> None:
        """Serve by other *rules* from the next request on; what is asked for already goes on."""
        self._protocol.apply(rules)
        if not rules.needs_user and isinstance(self._protocol.machine, HttpProxy):
            self._sessions.log_in("")

    def retire(self) -> None:
        """Serve no other request, and hang up if nothing is asked for."""
        self._retires = True
        self.apply(replace(self._protocol.rules, methods=frozenset()))
        self.drain()

    # -- ends --------------------------------------------------------------------------------

    def _part(self, leaving: HangUp, *, lingers: bool = False) -> None:
        """End the client's connection as *leaving* says, when it has taken everything."""
        if self._parting is None:
            self._requests.leave_peer()
            patience = self._means.settings().half_closed_timeout
            calls = self._owed, patience, self._over
            loop = self._means.loop
            self._parting = Parting(loop, self._client, leaving, *calls, lingers=lingers)

    def _over(self, has_everything: bool) -> None:
        assert self._parting
        leaving = self._parting.leaving
        self.end(leaving.why, reset=leaving.cut or not has_everything)

    def end(self, how: str, *, reset: bool) -> None:
        """End the client's connection by a reset or a FIN, and the session as *how*."""
        if self._is_gone:
            return
        self._release()
        self._requests.close(how)
        session, forward, self._forward = self.session, self._forward, None
        self._sessions.end(how)
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
        self._requests.cancel()
        if self._parting is not None:
            self._parting.cancel()
            self._parting = None
