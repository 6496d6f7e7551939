"""The endpoints that one client of SOCKS5 sends datagrams to, each judged, counted and recorded."""

from __future__ import annotations

import errno
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from faith.kernel.sockets.association_sockets import errors, socket_for_servers, source_towards
from faith.kernel.sockets.datagram_batch import endpoint_of, socket_name
from faith.proxy import socks_datagram
from faith.proxy.proxy_events import SOCKS5
from faith.relay.tcp import dial
from faith.relay.tcp.plane import ERR, IN
from faith.relay.tcp.record import UDP, Record
from faith.relay.tcp.session_state import adopt
from faith.translation.address import family_of, number, number6
from faith.translation.proxied_destination import ProxiedVerdict, admit_proxied
from faith.translation.reasons import CLOSED, EXPIRED, FILTERED, NO_SOCKET, NO_SOURCE, TOO_LARGE
from faith.translation.udp.flows import LOOK

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator

    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.session import Session
    from faith.translation.destination import Policy
    from faith.translation.udp.flows import Flow

    Endpoint = tuple[str, int]
    Guard = Callable[[Callable[[], object]], object]

MOST_SOCKETS = 4
"""Sockets of one client towards servers: of both families, and at other sources of rules."""
_UNHEARD = frozenset((CLOSED, EXPIRED))
"""Ends that say less than an error about all that was sent."""


class Destination:
    """An endpoint that the client sends to: who is there may answer.

    The client has named it by *address*, and has *asked* for that or for a name.
    """

    __slots__ = (
        *("address", "asked", "ended", "error", "flow", "fresh", "header", "name", "paths"),
        *("policy", "sock", "to", "verdict"),
    )

    flow: Flow
    ended: Callable[[str], object]
    """Called with the reason when the flow has ended."""

    def __init__(
        self,
        address: str,
        asked: Endpoint,
        verdict: ProxiedVerdict,
        policy: Policy | None,
        sock: _socket.socket,
    ) -> None:
        self.address = address
        self.asked = asked
        self.verdict = verdict
        self.policy = policy
        """The policy that *verdict* is of, None if it is another process's."""
        self.sock = sock
        self.to: Endpoint = (verdict.server, verdict.port)
        self.name = socket_name(*self.to)
        self.header = socks_datagram.header(address, asked[1])
        """The octets in front of its answers."""
        self.paths: list[Any] = []
        """The paths that lead to it."""
        self.error = 0
        """The errno of an ICMP error about it; 0 once it has answered."""
        self.fresh = 0.0
        """The flow need not be touched before this time."""

    def over(self, why: str) -> None:
        """Take note that the flow has ended as *why*."""
        self.ended(why)


class Destinations:
    """The destinations of the client of *session*, which sends to *mapped*.

    *answer* is called with a header and what has come, and returns whether
    it was sent; *over* is called with each destination that has ended, and *guard* with every step
    that an event leads to.
    """

    def __init__(
        self,
        means: ProxyMeans,
        session: Session,
        mapped: Endpoint,
        answer: Callable[[bytes, bytes], bool],
        over: Callable[[Destination], object],
        guard: Guard,
    ) -> None:
        self._means = means
        self._counters = means.counters
        self._table = means.associations
        self._session = session
        self._mapped = mapped
        self._answer = answer
        self._over = over
        self._guard = guard
        self._serial = self._table.serial()
        self._address = number6(session.client_host)
        self._sockets: dict[tuple[int, str | None], _socket.socket] = {}
        self._by_name: dict[bytes, Destination] = {}
        self._by_host: dict[str, list[Destination]] = {}
        self.client_port = 0
        """The client's port, once it is known."""

    def find(self, address: str, asked: Endpoint) -> Destination | str:
        """Return the destination at *address* and the port *asked* for, or why it is refused."""
        policy = self._means.policy()
        verdict = admit_proxied(policy, self._address, address, asked[1], UDP)
        if verdict.refused:
            return verdict.refused
        known = self._by_name.get(socket_name(verdict.server, verdict.port))
        if known is not None:
            return known
        try:
            sock = self._socket(family_of(verdict.server), verdict.source)
        except OSError as error:
            return NO_SOURCE if error.errno == errno.EADDRNOTAVAIL else NO_SOCKET
        new = Destination(address, asked, verdict, policy, sock)
        if why := self._enter(new):
            return why
        self._means.report(self._record(new, ""))
        return new

    def _enter(self, destination: Destination) -> str | None:
        """Have *destination* from now on; return why not, or None."""
        server, port = destination.to
        to = number6(server), port
        flow = self._table.begin((self._serial, *to), self._address, destination, to)
        if isinstance(flow, str):
            return flow
        destination.flow = flow
        destination.ended = partial(self._end, destination)
        self._by_name[destination.name] = destination
        self._by_host.setdefault(server, []).append(destination)
        return None

    def still_permits(self, destination: Destination) -> bool:
        """Return whether the policy in force permits *destination* as before; else it ends."""
        policy = self._means.policy()
        if destination.policy is policy:
            return True
        port = destination.asked[1]
        verdict = admit_proxied(policy, self._address, destination.address, port, UDP)
        old = destination.verdict
        where = verdict.server, verdict.port, verdict.source
        if verdict.refused or where != (old.server, old.port, old.source):
            self.end(destination, verdict.refused or CLOSED)
            return False
        destination.policy = policy
        return True

    def refuse(self, asked: Endpoint, why: str) -> None:
        """Count and report a datagram that was refused."""
        self._counters.datagram_refused(why.partition(":")[0])
        client = self._session.client_host, self.client_port
        now = time.time()
        self._means.report(
            Record(
                client,
                self._mapped,
                why,
                now,
                protocol=UDP,
                method=SOCKS5,
                asked=asked,
                user=self._session.user,
            )
        )

    # -- datagrams ---------------------------------------------------------------------------

    def send(self, destination: Destination, payload: bytes, now: float) -> int:
        """Send *payload*; return 0, or the errno with which it was not sent."""
        try:
            destination.sock.sendto(payload, destination.to)
        except OSError as error:
            failed = error.errno or errno.EIO
            if failed != errno.EMSGSIZE:
                failed = self._send_again(destination, payload)
            if failed:
                return failed
        size = len(payload)
        destination.flow.sent += size
        self._session.client.moved += size
        self._counters.datagram_to_server(size)
        if now >= destination.fresh:
            destination.fresh = now + LOOK
            self._table.touch(destination.flow, now)
        return 0

    def lost(self, destination: Destination, failed: int) -> None:
        """Count a datagram that was not sent for the errno *failed*."""
        if failed == errno.EMSGSIZE:
            self.refuse(destination.asked, TOO_LARGE)
        else:
            self._counters.datagram_lost()

    def _send_again(self, destination: Destination, payload: bytes) -> int:
        """Send where sendto(2) may have failed for an error about an earlier datagram."""
        self._note_errors(destination.sock)
        try:
            destination.sock.sendto(payload, destination.to)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _ready(self, sock: _socket.socket, mask: int) -> None:
        self._guard(partial(self._read, sock, mask))

    def _read(self, sock: _socket.socket, mask: int) -> None:
        if mask & ERR:
            self._note_errors(sock)
        if mask & IN:
            batch = self._table.batch(socket.AddressFamily(sock.family))
            for payload, name in batch.receive_from(sock.fileno()):
                self._receive(payload, name)

    def _receive(self, payload: bytes, name: bytes) -> None:
        destination = self._by_name.get(name)
        if destination is None:
            host, port = endpoint_of(name)
            others = self._by_host.get(host)
            if others is None:
                self._counters.datagram_refused(FILTERED)
                return
            destination = others[-1]
            header = socks_datagram.header(destination.address, port)
        else:
            header = destination.header
        destination.error = 0
        if self._answer(header, payload):
            destination.flow.received += len(payload)

    def _note_errors(self, sock: _socket.socket) -> None:
        for failed, to in errors(sock):
            self._counters.datagram_error()
            destination = self._by_name.get(socket_name(*to))
            if destination is not None:
                destination.error = failed

    # -- sockets, and ends -------------------------------------------------------------------

    def _socket(self, family: int, source: str | None) -> _socket.socket:
        """Return the socket at *source*, None for all addresses.  Raises OSError."""
        found = self._sockets.get((family, source))
        if found is None:
            if len(self._sockets) >= MOST_SOCKETS:
                raise OSError(errno.EMFILE, "there are too many")
            found = self._sockets[family, source] = socket_for_servers(family, source)
            self._means.plane.watch(found.fileno(), partial(self._ready, found))
        return found

    def end(self, destination: Destination, why: str) -> None:
        """End *destination* before its time, as *why*."""
        self._table.end(destination.flow)
        self._end(destination, why)

    def _end(self, destination: Destination, why: str) -> None:
        del self._by_name[destination.name]
        others = self._by_host[destination.to[0]]
        others.remove(destination)
        if not others:
            del self._by_host[destination.to[0]]
        if destination.error and why in _UNHEARD and not destination.flow.received:
            why = dial.kind(destination.error)
        self._means.report(self._record(destination, why))
        self._over(destination)

    def close(self, why: str) -> None:
        """End all of them as *why*, and close the sockets."""
        for destination in list(self._by_name.values()):
            self.end(destination, why)
        for sock in self._sockets.values():
            self._means.plane.retire(sock)
        self._sockets.clear()

    # -- in another process ------------------------------------------------------------------

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of all: what `resume` goes on from, fit for JSON, and the sockets' descriptors."""
        keys = list(self._sockets)
        numbers = {sock: number for number, sock in enumerate(self._sockets.values())}
        ends = [_state(one) | {"socket": numbers[one.sock]} for one in self._by_name.values()]
        for one in self._by_name.values():
            self._table.end(one.flow)
        descriptors = []
        for sock in self._sockets.values():
            self._means.plane.unwatch(sock.fileno())
            descriptors.append(sock.detach())
        self._sockets.clear()
        return {"sockets": keys, "ends": ends}, descriptors

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> dict[bytes, Destination]:
        """Go on, just made, where the one stopped whose state it is; return all by their names.

        One for which there is no room here ends.
        """
        socks = []
        for family, source in state["sockets"]:
            sock = self._sockets[family, source] = adopt(next(descriptors))
            self._means.plane.watch(sock.fileno(), partial(self._ready, sock))
            socks.append(sock)
        for its in state["ends"]:
            host, port = its["asked"]
            server, to_port = its["to"]
            verdict = ProxiedVerdict(None, server, to_port, its["source"])
            one = Destination(its["address"], (host, port), verdict, None, socks[its["socket"]])
            one.error = its["error"]
            if self._enter(one) is None:
                one.flow.opened, one.flow.sent, one.flow.received = its["flow"]
        return self._by_name

    def _record(self, destination: Destination, end: str) -> Record:
        host, port = destination.sock.getsockname()[:2]
        if not number(host):  # all addresses: the kernel chooses for each datagram
            host = source_towards(destination.to[0]) or host
        flow = destination.flow
        seconds = self._means.loop.time() - flow.opened
        return Record(
            (self._session.client_host, self.client_port),
            self._mapped,
            end,
            time.time() - seconds,
            (host, port),
            destination.to,
            seconds,
            flow.sent,
            flow.received,
            protocol=UDP,
            method=SOCKS5,
            asked=destination.asked,
            user=self._session.user,
        )


def _state(destination: Destination) -> dict[str, Any]:
    flow = destination.flow
    return {
        "address": destination.address,
        "asked": destination.asked,
        "to": destination.to,
        "source": destination.verdict.source,
        "error": destination.error,
        "flow": [flow.opened, flow.sent, flow.received],
    }
