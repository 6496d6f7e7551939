"""Translation of UDP datagrams from IPv6 clients to IPv4 hosts: a port for each of a client's
ports."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import UDP
from faith.datagram.report import NO_WAY, pass_on, quoted, reporter_v6
from faith.datagram.udp.flow_reports import NO_REPORTS
from faith.datagram.udp.message import PROTOCOL, as_sent, ports
from faith.datagram.udp.paths import ForwardPath, ReturnPath, V6ToV4Ends, key_v6
from faith.datagram.udp.udp_translation import UdpTranslation
from faith.kernel.sockets.udp_sockets import flow_socket, is_own, set_fields
from faith.translation.address import from_packed, number, text4
from faith.translation.reasons import FILTERED, HOPS, NO_SOCKET, NO_SOURCE, OWN, SOURCE_MAPPED
from faith.translation.udp.flows import LOOK, Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.datagram.pace import Paces
    from faith.datagram.packet import Packet
    from faith.datagram.send import Send
    from faith.datagram.udp.flow_reports import FlowReports
    from faith.datagram.udp.udp_counters import UdpCounters
    from faith.datagram.udp.v6_sender import V6Sender
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix
    from faith.translation.udp.flows import Flows

MOST_FORWARD_PATHS = 1 << 16
"""The most forward paths remembered; beyond, all are forgotten at once."""
MOST_RETURN_PATHS = 1 << 16
"""The most return paths remembered; beyond, all are forgotten at once."""


class UdpV6ToV4(UdpTranslation):
    """The translator of datagrams from IPv6 to IPv4; sends answers by *sender*.

    *watch* is called with every new flow, and *forget* with one that has ended, before its socket
    is closed.
    """

    near = icmp.V6

    def __init__(
        self,
        policy: Policy,
        flows: Flows,
        sender: V6Sender,
        counters: UdpCounters,
        errors: Paces,
        watch: Callable[[Flow], None],
        forget: Callable[[Flow], None],
        reports: FlowReports = NO_REPORTS,
    ) -> None:
        super().__init__(policy, flows, counters, errors, reports)
        self._sender = sender
        self._watch = watch
        self._forget = forget
        self._paths: dict[tuple[object, ...], ForwardPath] = {}
        self._by_endpoint: dict[tuple[int | None, int], Flow] = {}
        self._return_paths = 0  # of all flows

    def _forget_decisions(self) -> None:
        for path in self._paths.values():
            path.flow.ends.path_keys.clear()
        self._paths.clear()

    def forget_fields(self) -> None:
        for flow in self.flows:
            flow.ends.fields = b""
            self._return_paths -= len(flow.ends.return_paths)
            flow.ends.return_paths.clear()

    # -- from clients ------------------------------------------------------------------------

    def forward(self, arrival: Arrival, now: float) -> Send | None:
        """Send a client's datagram on; returns the error for the client when that fails."""
        payload, source, original, fields = arrival
        path = self._paths.get((source, original))
        if path is None or path.ended:
            found = self._find(arrival, now)
            if not isinstance(found, ForwardPath):
                return found
            if len(self._paths) >= MOST_FORWARD_PATHS:
                self._forget_decisions()
            path = self._paths[source, original] = found
            path.flow.ends.path_keys.add((source, original))
        ends = path.flow.ends
        if fields != ends.fields:
            if arrival.hops <= 1:
                return self._refuse(HOPS, arrival, icmp.HOPS_EXCEEDED_V6, now)
            octet = self.flows.settings.traffic_class(arrival.traffic_class)
            set_fields(ends.sock, arrival.hops - 1, octet)
            ends.fields = fields
        if now >= path.fresh:
            path.fresh = now + LOOK
            self.flows.touch(path.flow, path.server, path.to[1], now)
        path.flow.sent += len(payload)
        if path.twin:
            self.send_back(path.twin, payload, path.seen_as, arrival.traffic_class, now)
            return None
        try:
            ends.sock.sendto(payload, path.to)
        except OSError as error:
            return self._unsent(error, arrival, ends, now)
        self._counters.to_v4(len(payload))
        return None

    def _unsent(
        self, error: OSError, arrival: Arrival, ends: V6ToV4Ends, now: float
    ) -> Send | None:
        """Return the error for the client whose datagram the kernel refused to send, or None."""
        if ends.source is not None and not is_own(ends.source):
            return self._refuse(NO_SOURCE, arrival, icmp.NO_ADDRESS_V6, now)
        self._counters.lost()
        return self._error_for(arrival, icmp.NO_ROUTE_V6, now) if error.errno in NO_WAY else None

    def _find(self, arrival: Arrival, now: float) -> ForwardPath | Send | None:
        """Return the forward path of *arrival*, or the error for its client, or None."""
        client, target = number(arrival.sender[0]), from_packed(arrival.destination)
        prefix = self._policy.prefixes.find(target)
        if prefix is None:
            return None  # the prefix has just been removed
        server = prefix.unmap(target)
        verdict = self._policy.admit(client, server, prefix, PROTOCOL)
        if verdict.refused == SOURCE_MAPPED or not client:  # RFC 6146 §3.5; and :: is no host
            self._counters.refused(SOURCE_MAPPED)
            self._reports.refused(SOURCE_MAPPED, arrival)
            return None
        twin = self._twin(server, arrival.port)
        if verdict.refused and not (twin and verdict.refused == OWN):
            return self._refuse(verdict.refused, arrival, icmp.PROHIBITED_V6, now)
        source = verdict.source4
        zone = arrival.scope if client >> 118 == 0xFE80 >> 6 else 0
        key = key_v6((client, arrival.sender[1]), zone, prefix, source)
        flow = self.flows.find(key)
        if flow is None:
            if arrival.hops <= 1:
                return self._refuse(HOPS, arrival, icmp.HOPS_EXCEEDED_V6, now)
            if why := self._no_room(client, now):
                return self._refuse(why, arrival, icmp.PROHIBITED_V6, now)
            try:
                flow = self._open(key, (*arrival.sender, zone), prefix, source)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    return self._refuse(NO_SOURCE, arrival, icmp.NO_ADDRESS_V6, now)
                return self._refuse(NO_SOCKET, arrival, icmp.PROHIBITED_V6, now)
            self.flows.add(flow)
            self.flows.touch(flow, server, arrival.port, now)
            flow.first = server, arrival.port
            flow.opened = now
            self._counters.begun()
            self._reports.begun(flow, now)
        return ForwardPath(flow, server, (text4(server), arrival.port), twin)

    def _twin(self, server: int, port: int) -> Flow | None:
        """Return the flow whose endpoint on the gateway this is."""
        flow = self._by_endpoint.get((server, port))
        if flow is None and server in self._policy.own:
            flow = self._by_endpoint.get((None, port))
        return flow

    def _open(
        self, key: tuple[int, ...], client: tuple[str, int, int], prefix: Prefix, source: int | None
    ) -> Flow:
        sock = flow_socket(None if source is None else text4(source), client[1])
        flow = Flow(key, key[0], V6ToV4Ends(sock, source, client, prefix))
        try:
            self.settle(flow)
        except OSError:
            sock.close()
            raise
        return flow

    def settle(self, flow: Flow) -> None:
        """Register *flow*, new in this process, so that answers reach it.  Raises OSError."""
        self._watch(flow)
        self._by_endpoint[flow.ends.source, flow.ends.port] = flow

    def end(self, flow: Flow) -> None:
        """Unregister a flow that has ended, and close its socket."""
        self._let_go(flow)
        flow.ends.sock.close()

    def release(self, flow: Flow) -> int:
        """Unregister a flow that goes on elsewhere, and return its socket's descriptor."""
        self._let_go(flow)
        return int(flow.ends.sock.detach())

    def _let_go(self, flow: Flow) -> None:
        ends = flow.ends
        self._forget(flow)
        del self._by_endpoint[ends.source, ends.port]
        for known in ends.path_keys:
            self._paths.pop(known, None)
        self._return_paths -= len(ends.return_paths)
        ends.return_paths.clear()  # other flows may have paths to it still
        flow.peers.clear()

    # -- from IPv4 hosts ---------------------------------------------------------------------

    def whose(self, arrival: Arrival, now: float) -> Flow | None:
        """Return the flow that an IPv4 datagram to a mapped address belongs to, or None.

        It is None as well where the filter refuses the sender: a mapped server may send from the
        port that it serves, and clients reach the server by that port all the same.
        """
        flow = self._by_endpoint.get((from_packed(arrival.destination), arrival.port))
        if flow is None:
            return None
        return flow if self.flows.lets_in(flow, number(arrival.sender[0]), now) else None

    def send_back(
        self, flow: Flow, payload: bytes, source: tuple[str, int], traffic_class: int, now: float
    ) -> None:
        """Send on to the client of *flow* what arrived from an IPv4 endpoint."""
        ends = flow.ends
        path = ends.return_paths.get(source) or self._return_path(flow, source, now)
        if not self.flows.lets_in(flow, path.peer, now):
            self._counters.refused(FILTERED)
            return
        if traffic_class != path.traffic_class:
            path.mark(traffic_class, self.flows.settings.traffic_class(traffic_class))
        between = (path.source, source[1]), (flow.key[0], ends.client[1])
        try:
            self._sender.send(payload, *between, path.control, path.to)
        except OSError:
            self._counters.lost()
        else:
            flow.received += len(payload)
            self._counters.to_v6(len(payload))

    def _return_path(self, flow: Flow, source: tuple[str, int], now: float) -> ReturnPath:
        """Return a new return path, remembered unless the filter refuses *source*."""
        path = ReturnPath(source, flow.ends)
        if self.flows.lets_in(flow, path.peer, now):
            if self._return_paths >= MOST_RETURN_PATHS:
                for other in self.flows:
                    other.ends.return_paths.clear()
                self._return_paths = 0
            flow.ends.return_paths[source] = path
            self._return_paths += 1
        return path

    def translate_error(self, packet: Packet) -> Send | None:
        """Translate an ICMP error from an IPv4 host, in *packet*, for the client; or None."""
        found = quoted(icmp.V4, packet, UDP)
        if found is None:
            return None
        inner, translated = found
        ours, port = ports(inner)
        flow = self._by_endpoint.get((inner.source, ours)) or self._by_endpoint.get((None, ours))
        if flow is None or inner.destination not in flow.peers:
            return None
        self._counters.error("v4")
        client, prefix = flow.ends.client, flow.ends.prefix
        server = prefix.map(inner.destination), port
        sent = as_sent(inner, (flow.key[0], client[1]), server)
        reporter = reporter_v6(packet.source, prefix, self._policy)
        return pass_on(self.near, translated, sent, reporter, packet, client[2])
