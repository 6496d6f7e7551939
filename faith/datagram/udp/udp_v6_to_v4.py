"""Translation of UDP datagrams from IPv6 clients to IPv4 hosts: a port for each of a client's
ports."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import UDP, read_v4
from faith.datagram.report import NO_WAY, about_v4, pass_on_v6, tell_v6, teller_v6
from faith.datagram.udp.flows import LOOK, Flow
from faith.datagram.udp.message import PROTOCOL, as_sent, ports, whole_v6
from faith.datagram.udp.paths import Back, Held, Way, key_v6, text_v4
from faith.kernel.sockets.udp_sockets import flow_socket, header, set_hops
from faith.translation.reasons import FILTERED, HOPS, NO_SOCKET, OWN, SOURCE_MAPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.datagram.pace import Paces
    from faith.datagram.send import Send
    from faith.datagram.udp.flows import Flows
    from faith.datagram.udp.udp_counters import Counters
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix

MOST_WAYS = 1 << 16
"""The most forward paths remembered; beyond, all are forgotten at once."""
MOST_BACKS = 1 << 16
"""The most return paths remembered; beyond, all are forgotten at once."""


class Outward:
    """The translator of datagrams from IPv6 to IPv4; sends answers by the raw socket *sender*.

    *policy* decides; *errors* limits the rate of the gateway's own errors.  *watch* is called with
    every new flow, and *forget* with one that has ended, before its socket is closed.
    """

    def __init__(
        self,
        policy: Policy,
        flows: Flows,
        sender: _socket.socket,
        counters: Counters,
        errors: Paces,
        watch: Callable[[Flow], None],
        forget: Callable[[Flow], None],
    ) -> None:
        self._policy = policy
        self._flows = flows
        self._sender = sender
        self._counters = counters
        self._errors = errors
        self._watch = watch
        self._forget = forget
        self._ways: dict[tuple[object, ...], Way] = {}
        self._by_endpoint: dict[tuple[int | None, int], Flow] = {}
        self._backs = 0  # of all flows

    @property
    def policy(self) -> Policy:
        """The policy that decides; another one decides about every path anew."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._forget_ways()

    def _forget_ways(self) -> None:
        for way in self._ways.values():
            way.flow.held.ways.clear()
        self._ways.clear()

    # -- from clients ------------------------------------------------------------------------

    def arrived(self, arrival: Arrival, now: float) -> Send | None:
        """Send a client's datagram on; returns the error for the client when that fails."""
        payload, source, original, hops_left = arrival
        way = self._ways.get((source, original))
        if way is None or way.ended:
            found = self._find(arrival, now)
            if not isinstance(found, Way):
                return found
            if len(self._ways) >= MOST_WAYS:
                self._forget_ways()
            way = self._ways[source, original] = found
            way.flow.held.ways.add((source, original))
        held = way.flow.held
        if hops_left != held.hops_left:
            if arrival.hops <= 1:
                return self._refuse(HOPS, arrival, icmp.HOPS_EXCEEDED_V6, now)
            set_hops(held.sock, arrival.hops - 1)
            held.hops_left = hops_left
        if now >= way.fresh:
            way.fresh = now + LOOK
            self._flows.touch(way.flow, way.server, way.to[1], now)
        if way.twin:
            self.heard(way.twin, payload, way.seen_as, now)
            return None
        try:
            held.sock.sendto(payload, way.to)
        except OSError as error:
            self._counters.lost()
            no_way = error.errno in NO_WAY
            return self._tell(arrival, icmp.NO_ROUTE_V6, now) if no_way else None
        self._counters.to_v4(len(payload))
        return None

    def _find(self, arrival: Arrival, now: float) -> Way | Send | None:
        """Return the forward path of *arrival*, or the error for its client, or None."""
        client = int.from_bytes(_socket.inet_pton(_socket.AF_INET6, arrival.sender[0]), "big")
        target = int.from_bytes(arrival.destination, "big")
        prefix = self._policy.prefixes.find(target)
        if prefix is None:
            return None  # the prefix has just been removed
        server = prefix.unmap(target)
        verdict = self._policy.admit(client, server, prefix, PROTOCOL)
        if verdict.refused == SOURCE_MAPPED or not client:  # RFC 6146 §3.5; and :: is no host
            self._counters.refused(SOURCE_MAPPED)
            return None
        twin = self._twin(server, arrival.port)
        if verdict.refused and not (twin and verdict.refused == OWN):
            return self._refuse(verdict.refused, arrival, icmp.PROHIBITED_V6, now)
        source = verdict.source4
        zone = arrival.scope if client >> 118 == 0xFE80 >> 6 else 0
        key = key_v6((client, arrival.sender[1]), zone, prefix, source)
        flow = self._flows.find(key)
        if flow is None:
            if arrival.hops <= 1:
                return self._refuse(HOPS, arrival, icmp.HOPS_EXCEEDED_V6, now)
            why = self._flows.refuses(client >> 64)
            if why:
                return self._refuse(why, arrival, icmp.PROHIBITED_V6, now)
            try:
                flow = self._open(key, (*arrival.sender, zone), prefix, source)
            except OSError:
                return self._refuse(NO_SOCKET, arrival, icmp.PROHIBITED_V6, now)
            self._flows.add(flow)
            self._flows.touch(flow, server, arrival.port, now)
        return Way(flow, server, (text_v4(server), arrival.port), twin)

    def _twin(self, server: int, port: int) -> Flow | None:
        """Return the flow whose endpoint on the gateway this is."""
        flow = self._by_endpoint.get((server, port))
        if flow is None and server in self._policy.own:
            flow = self._by_endpoint.get((None, port))
        return flow

    def _open(
        self, key: tuple[int, ...], client: tuple[str, int, int], prefix: Prefix, source: int | None
    ) -> Flow:
        sock = flow_socket(None if source is None else text_v4(source), client[1])
        flow = Flow(key, key[0] >> 64, Held(sock, source, client, prefix))
        try:
            self.settle(flow)
        except OSError:
            sock.close()
            raise
        return flow

    def settle(self, flow: Flow) -> None:
        """Register *flow*, new in this process, so that answers reach it.  Raises OSError."""
        self._watch(flow)
        self._by_endpoint[flow.held.source, flow.held.port] = flow

    def end(self, flow: Flow) -> None:
        """Unregister a flow that has ended, and close its socket."""
        self._let_go(flow)
        flow.held.sock.close()

    def release(self, flow: Flow) -> int:
        """Unregister a flow that goes on elsewhere, and return its socket's descriptor."""
        self._let_go(flow)
        return int(flow.held.sock.detach())

    def _let_go(self, flow: Flow) -> None:
        held = flow.held
        self._forget(flow)
        del self._by_endpoint[held.source, held.port]
        for known in held.ways:
            self._ways.pop(known, None)
        self._backs -= len(held.backs)
        held.backs.clear()  # other flows may have paths to it still
        flow.peers.clear()

    def _refuse(self, why: str, arrival: Arrival, error: icmp.Error, now: float) -> Send | None:
        self._counters.refused(why)
        return self._tell(arrival, error, now)

    def _tell(self, arrival: Arrival, error: icmp.Error, now: float) -> Send | None:
        """Return *error* about *arrival* for its sender; None above the rate limit."""
        client = _socket.inet_pton(_socket.AF_INET6, arrival.sender[0])
        if self._errors.refuses(client[:8], now):
            return None
        return tell_v6(error, whole_v6(arrival), int.from_bytes(client, "big"), arrival.scope)

    # -- from IPv4 hosts ---------------------------------------------------------------------

    def whose(self, arrival: Arrival, now: float) -> Flow | None:
        """Return the flow that an IPv4 datagram to a mapped address belongs to, or None.

        It is None as well where the filter refuses the sender: a mapped server may send from the
        port that it serves, and clients reach the server by that port all the same.
        """
        flow = self._by_endpoint.get((int.from_bytes(arrival.destination, "big"), arrival.port))
        if flow is None:
            return None
        peer = int.from_bytes(_socket.inet_aton(arrival.sender[0]), "big")
        return flow if self._flows.lets_in(flow, peer, now) else None

    def heard(self, flow: Flow, payload: bytes, source: tuple[str, int], now: float) -> None:
        """Send on to the client of *flow* what arrived from an IPv4 endpoint."""
        held = flow.held
        back = held.backs.get(source) or self._back(flow, source, now)
        if not self._flows.lets_in(flow, back.peer, now):
            self._counters.refused(FILTERED)
            return
        message = [header(source[1], held.client[1], len(payload)), payload]
        try:
            self._sender.sendmsg(message, back.control, 0, back.to)
        except OSError:
            self._counters.lost()
        else:
            self._counters.to_v6(len(payload))

    def _back(self, flow: Flow, source: tuple[str, int], now: float) -> Back:
        """Return a new return path, remembered unless the filter refuses *source*."""
        back = Back(source, flow.held)
        if self._flows.lets_in(flow, back.peer, now):
            if self._backs >= MOST_BACKS:
                for other in self._flows:
                    other.held.backs.clear()
                self._backs = 0
            flow.held.backs[source] = back
            self._backs += 1
        return back

    def failed(self, octets: bytes) -> Send | None:
        """Translate an ICMP error from an IPv4 host, in a whole packet, for the client; or None."""
        packet = read_v4(octets)
        error = icmp.within(packet)
        inner = about_v4(error, UDP) if error else None
        if packet is None or error is None or inner is None:
            return None
        ours, port = ports(inner)
        flow = self._by_endpoint.get((inner.source, ours)) or self._by_endpoint.get((None, ours))
        translated = icmp.to_v6(error, icmp.HEADERS_DIFFER_BY + inner.length)
        if flow is None or translated is None or inner.destination not in flow.peers:
            return None
        self._counters.told("v4")
        client, prefix = flow.held.client, flow.held.prefix
        server = prefix.map(inner.destination), port
        about = as_sent(inner, (flow.key[0], client[1]), server)
        teller = teller_v6(packet.source, prefix, self._policy)
        return pass_on_v6(translated, about, teller, packet.hops, client[2])
