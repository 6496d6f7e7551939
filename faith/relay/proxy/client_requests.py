"""Whatever a proxy's client waits for: a server, a peer, datagrams, or the look at its password."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from faith.proxy.proxy_events import HTTP, SOCKS5, Target
from faith.proxy.socks_session import SocksSession
from faith.relay.proxy.association import Association, new_socket
from faith.relay.proxy.awaited_peer import AwaitedPeer
from faith.relay.proxy.server_dial import ServerDial
from faith.relay.tcp.session_state import adopt

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from faith.proxy.protocol_choice import Machine
    from faith.proxy.proxy_events import Event
    from faith.relay.proxy.client_protocol import ClientProtocol
    from faith.relay.proxy.client_session import ClientSessions
    from faith.relay.proxy.client_table import ClientTable
    from faith.relay.proxy.proxy_means import ProxyMeans

    Endpoint = tuple[str, int]
    Do = Callable[[Iterable[Event]], None]
    Guard = Callable[[Callable[[], object]], None]


class ClientRequests:
    """Carries out what the machine of one client asks for, and has it know what came of it.

    *do* does what the machine says then; *guard* is called with every step that an event leads to.
    """

    def __init__(
        self,
        means: ProxyMeans,
        table: ClientTable[Any],
        sessions: ClientSessions,
        protocol: ClientProtocol,
        do: Do,
        guard: Guard,
    ) -> None:
        self._means = means
        self._table = table
        self._sessions = sessions
        self._protocol = protocol
        self._do = do
        self._guard = guard
        self._dial: ServerDial | None = None
        self._peer: AwaitedPeer | None = None
        self._association: Association | None = None
        self._is_asking = False
        """Somebody of this process is asked, who has not answered yet."""
        self._is_over = False

    @property
    def stage(self) -> str:
        """Return the stage of a client that waits, for lists of sessions, or ""."""
        if self._dial is not None:
            return "dialling"
        return "" if self._peer is None else "listening"

    @property
    def has_association(self) -> bool:
        """Return whether the client's datagrams are relayed."""
        return self._association is not None

    @property
    def awaits_peer(self) -> bool:
        """Return whether a server is to connect to the client."""
        return self._peer is not None

    @property
    def can_be_handed_over(self) -> bool:
        """Return whether nobody of this process is waited for but a server that is dialled."""
        return not (self._is_asking or (self._peer is not None and self._peer.is_asking))

    def cancel(self) -> None:
        """Wait for nothing any more, and do nothing."""
        self._is_over = True
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        self.leave_peer()
        self._do = self._guard = _nothing  # they lead to all that leads here

    def leave_peer(self) -> None:
        """Let in no server that the client has waited for."""
        if self._peer is not None:
            self._peer.cancel()
            self._peer = None

    def close(self, how: str) -> None:
        """End the association, if there is one, as *how*."""
        if self._association is not None:
            self._association.close(how)
            self._association = None

    # -- passwords ---------------------------------------------------------------------------

    def check(self, users: Mapping[str, str], name: str, password: bytes) -> None:
        """Have it found out whether *password* is that of the user *name* among *users*."""
        client = self._means.accounting.shares.client(self._sessions.current.client_host)
        self._is_asking = True
        checked = partial(self._checked, name)
        self._means.users.check(client, users, name, password, checked)

    def _checked(self, name: str, good: bool | None) -> None:
        self._sessions.log_in(name if good else "")
        self._go_on(lambda machine: machine.user_checked(good))

    # -- servers -----------------------------------------------------------------------------

    def reach(self, target: Target, method: str) -> None:
        """Dial *target*, if the client may have another session after its first."""
        if why := self._sessions.excess():
            self._sessions.current.method = method
            self._fail_soon(target, why)
        else:
            self._begin_dial(target, method)

    def _begin_dial(self, target: Target, method: str) -> None:
        session = self._sessions.current
        if method == HTTP:  # its record is of this server, and not of the client
            session.started = session.quiet_since = self._means.loop.time()
        self._table.dialling[session] = None
        self._dial = ServerDial(self._means, session, target, method, self._dialled)

    def _dialled(self, why: str | None) -> None:
        dial, self._dial = self._dial, None
        session = self._sessions.current
        self._table.dialling.pop(session, None)
        if why is not None:
            self._fail(dial.target if dial else None, why)
        else:
            at = session.server.sock.getsockname()[:2]
            self._go_on(lambda machine: machine.connected(at))

    # -- BIND, and UDP ASSOCIATE -------------------------------------------------------------

    def await_peer(self, target: Target, method: str) -> None:
        """Let in one connection from the host of *target*."""
        self._means.counters.proxy_request(method)
        self._new_peer(target, method).start()

    def _new_peer(self, target: Target, method: str) -> AwaitedPeer:
        session, calls = self._sessions.current, (self._listens, self._came)
        self._peer = AwaitedPeer(self._means, session, target, method, *calls)
        return self._peer

    def _listens(self, at: Endpoint) -> None:
        self._go_on(lambda machine: machine.connected(at))

    def _came(self, outcome: Endpoint | str) -> None:
        peer, self._peer = self._peer, None
        if isinstance(outcome, str):
            self._fail(peer.target if peer else None, outcome)
            return
        machine = self._protocol.machine
        assert isinstance(machine, SocksSession)
        self._go_on(lambda _: machine.accepted(outcome))

    def associate(self, announced: Target) -> None:
        """Relay datagrams of the client, which sends from where it has *announced*, if it has."""
        session, means = self._sessions.current, self._means
        session.method = SOCKS5
        means.counters.proxy_request(SOCKS5)
        why = means.associations.refuses(session.share)
        if why is None:
            try:
                sock = new_socket(session)
            except OSError as error:
                why = means.why(error)
            else:
                association = self._new_association(sock)
                association.expect(announced)
                self._is_asking = True
                means.loop.call_soon(self._listens, association.bound)
                return
        self._fail_soon(None, why)

    def _new_association(self, sock: _socket.socket) -> Association:
        session = self._sessions.current
        self._association = Association(self._means, session, sock, self._guard)
        self._sessions.is_recorded = True  # each destination has a record of its own
        session.looked_at = True  # there is no server for idle limits to look at
        return self._association

    # -- answers -----------------------------------------------------------------------------

    def _fail_soon(self, target: Target | None, why: str) -> None:
        self._is_asking = True
        self._means.loop.call_soon(self._fail, target, why)

    def _fail(self, target: Target | None, why: str) -> None:
        if not self._is_over:
            self._sessions.refuse(target, why, self._sessions.current.method)
            self._go_on(lambda machine: machine.failed(why))

    def _go_on(self, step: Callable[[Machine], Iterable[Event]]) -> None:
        """Do what the machine says to what was waited for."""
        self._is_asking = False
        machine = self._protocol.machine
        if not self._is_over and machine is not None:
            self._guard(lambda: self._do(step(machine)))

    # -- in another process ------------------------------------------------------------------

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Return what `resume` goes on from, fit for JSON, and descriptors that go along.

        A server that is being dialled will be dialled anew.
        """
        state: dict[str, Any] = {"peer": None, "association": None}
        state["dial"] = self._dial and self._dial.state()
        descriptors: list[int] = []
        if self._peer is not None:
            state["peer"], descriptors = self._peer.hand_over()
        elif self._association is not None:
            state["association"], descriptors = self._association.hand_over()
        return state, descriptors

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state is among these fields."""
        if state["association"]:
            sock = adopt(next(descriptors))
            self._new_association(sock).resume(state["association"], descriptors)
        if state["peer"]:
            peer = self._new_peer(Target(*state["peer"]["target"]), state["peer"]["method"])
            peer.resume(state["peer"], descriptors)
        if state["dial"]:
            *target, method = state["dial"]
            self._begin_dial(Target(*target), method)


def _nothing(_: object) -> None:
    """Do nothing with an event of something that was cancelled."""
