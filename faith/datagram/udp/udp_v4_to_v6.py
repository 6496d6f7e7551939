"""Translation of UDP datagrams from IPv4 clients to mapped addresses, sent from mapped
addresses."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import UDP
from faith.datagram.report import NO_WAY, pass_on, quoted
from faith.datagram.udp.flow_reports import NO_REPORTS
from faith.datagram.udp.message import PROTOCOL, as_sent, datagram, ports
from faith.datagram.udp.udp_translation import UdpTranslation
from faith.kernel.sockets.packet_info import control
from faith.translation.address import V4, V6, from_packed, number, packed4, packed6, text4, text6
from faith.translation.reasons import FLOWS, HOPS, MAP_GONE, NO_PREFIX, PREFIX_GONE
from faith.translation.udp.flows import LOOK, Flow
from faith.translation.v4_to_v6 import admit_from_v4

if TYPE_CHECKING:
    import _socket

    from faith.datagram.pace import Paces
    from faith.datagram.packet import Packet
    from faith.datagram.send import Send
    from faith.datagram.udp.flow_reports import FlowReports
    from faith.datagram.udp.udp_counters import UdpCounters
    from faith.datagram.udp.v6_sender import V6Sender
    from faith.kernel.sockets.packet_info import Control
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.destination import Policy
    from faith.translation.udp.flows import Flows, Key

_PORTS = range(1024, 1 << 16)
_TRIES = 64

Reply = tuple[object, ...]
"""The identity of an answer: host, port and destination, all as in an `Arrival`, and port."""


def key_v4(
    client: tuple[int, int], mapped: tuple[int, int], host: tuple[int, int], source: int
) -> Key:
    """Return the key of the flow between these endpoints; *source* is the client's
    mapped address."""
    return *client, *mapped, *host, source


class V4ToV6Ends:
    """The endpoints of a flow: *client* and *mapped* of IPv4, *source* and *host* of IPv6.

    Each is an address and a port.
    """

    __slots__ = (
        *("back", "back_class", "client", "control", "fields", "fresh", "host", "host_text"),
        *("judged", "mapped", "source", "to"),
    )

    def __init__(
        self,
        client: tuple[int, int],
        mapped: tuple[int, int],
        source: tuple[int, int],
        host: tuple[int, int],
    ) -> None:
        self.client = client
        self.mapped = mapped
        self.source = source
        self.host = host
        self.to = text4(client[0]), 0
        self.back = control(V4, packed4(mapped[0]))  # sends answers from the mapped address
        self.back_class = 0  # the traffic class of the last answer, as it came
        self.control: Control = []  # sends with the fields of the last datagram, a hop less
        self.fields = b""  # of the last datagram
        self.fresh = 0.0  # the flow need not be touched before this time
        self.judged: tuple[object, ...] = ()  # the key of its datagrams among the judged ones
        self.host_text = text6(host[0])

    def mark_answers(self, came: int, sent: int) -> None:
        """Send answers with the TOS octet *sent* while they come with *came*."""
        self.back_class = came
        self.back = control(V4, packed4(self.mapped[0]), traffic_class=sent)

    @property
    def reply(self) -> Reply:
        """The identity of an answer."""
        return self.host_text, self.host[1], packed6(self.source[0]), self.source[1]


def why_gone(flow: Flow, before: Policy, now: Policy) -> str | None:
    """Return the reason why *flow* ends if it goes by a map or a prefix that the policy *before*
    had, and *now* has not."""
    (mapped, port), (source, _) = flow.ends.mapped, flow.ends.source
    asked = mapped, PROTOCOL, port
    if before.maps.find(*asked) is not None and now.maps.find(*asked) is None:
        return MAP_GONE
    gone = before.prefixes.find(source) is not None and now.prefixes.find(source) is None
    return PREFIX_GONE if gone else None


class UdpV4ToV6(UdpTranslation):
    """The translator of datagrams from IPv4 to IPv6; sends by the raw socket *v4*, and by *v6*."""

    near = icmp.V4

    def __init__(
        self,
        policy: Policy,
        flows: Flows,
        v4: _socket.socket,
        v6: V6Sender,
        counters: UdpCounters,
        errors: Paces,
        reports: FlowReports = NO_REPORTS,
    ) -> None:
        super().__init__(policy, flows, counters, errors, reports)
        self._v4 = v4
        self._v6 = v6
        self._judged: dict[tuple[object, ...], Flow] = {}
        self._replies: dict[Reply, Flow] = {}

    def _forget_decisions(self) -> None:
        self._judged.clear()

    def forget_fields(self) -> None:
        for flow in self.flows:
            flow.ends.fields = b""
            flow.ends.mark_answers(0, 0)

    # -- from clients ------------------------------------------------------------------------

    def forward(self, arrival: Arrival, now: float) -> Send | None:
        """Send a client's datagram on; returns the error for the client when that fails."""
        payload, source, original, fields = arrival
        flow = self._judged.get((source, original))
        if flow is None or flow.ended:
            found = self._find(arrival, now)
            if not isinstance(found, Flow):
                return found
            flow = found
        ends = flow.ends
        if fields != ends.fields:
            if arrival.hops <= 1:
                return self._refuse(HOPS, arrival, icmp.HOPS_EXCEEDED_V4, now)
            octet = self.flows.settings.traffic_class(arrival.traffic_class)
            ends.control = control(V6, packed6(ends.source[0]), arrival.hops - 1, octet)
            ends.fields = fields
        if now >= ends.fresh:
            ends.fresh = now + LOOK
            self.flows.touch(flow, ends.host[0], ends.host[1], now)
        try:
            self._v6.send(payload, ends.source, ends.host, ends.control, (ends.host_text, 0))
        except OSError as error:
            self._counters.lost()
            no_way = error.errno in NO_WAY
            return self._error_for(arrival, icmp.UNREACHABLE_HOST_V4, now) if no_way else None
        flow.sent += len(payload)
        self._counters.to_v6(len(payload))
        return None

    def _find(self, arrival: Arrival, now: float) -> Flow | Send | None:
        client, mapped = number(arrival.sender[0]), from_packed(arrival.destination)
        verdict = admit_from_v4(self._policy, client, mapped, arrival.port, PROTOCOL)
        refused = verdict.refused or (NO_PREFIX if verdict.source is None else None)
        if refused or verdict.source is None:
            return self._refuse(refused or NO_PREFIX, arrival, icmp.PROHIBITED_V4, now)
        endpoints = (client, arrival.sender[1]), (mapped, arrival.port)
        host = verdict.server, verdict.port
        key = key_v4(*endpoints, host, verdict.source)
        flow = self.flows.find(key)
        if flow is None:
            if arrival.hops <= 1:
                return self._refuse(HOPS, arrival, icmp.HOPS_EXCEEDED_V4, now)
            address = self.near.above | client
            if why := self._no_room(address, now):
                return self._refuse(why, arrival, icmp.PROHIBITED_V4, now)
            ends = self._new_ends(*endpoints, verdict.source, host)
            if ends is None:
                return self._refuse(FLOWS, arrival, icmp.PROHIBITED_V4, now)
            flow = Flow(key, address, ends)
            self.flows.add(flow)
            self.flows.touch(flow, host[0], host[1], now)
            self.settle(flow)
            flow.opened = now
            self._counters.begun()
            self._reports.begun(flow, now)
        if not verdict.leased:  # a lease is looked up for each datagram, which extends it
            self._judged[arrival.source, arrival.original] = flow
            flow.ends.judged = arrival.source, arrival.original
        return flow

    def _new_ends(
        self, client: tuple[int, int], mapped: tuple[int, int], source: int, host: tuple[int, int]
    ) -> V4ToV6Ends | None:
        """Return the endpoints of a new flow, with a port of *source* not yet used towards *host*.

        It is the client's port if that is free: two mapped addresses may stand for one host.
        """
        wanted = client[1]
        alike = (random.randrange(_PORTS.start + wanted % 2, _PORTS.stop, 2) for _ in range(_TRIES))
        for port in itertools.chain([wanted], alike):
            ends = V4ToV6Ends(client, mapped, (source, port), host)
            if ends.reply not in self._replies:
                return ends
        return None

    def settle(self, flow: Flow) -> None:
        """Register *flow*, new in this process, so that answers reach its client."""
        self._replies[flow.ends.reply] = flow

    def end(self, flow: Flow) -> None:
        """Unregister a flow that has ended."""
        ends = flow.ends
        if self._replies.get(ends.reply) is flow:
            del self._replies[ends.reply]
        self._judged.pop(ends.judged, None)

    # -- from IPv6 hosts ---------------------------------------------------------------------

    def whose(self, arrival: Arrival) -> Flow | None:
        """Return the flow that an IPv6 datagram answers, or None."""
        if not self._replies:
            return None
        return self._replies.get((*arrival.sender, arrival.destination, arrival.port))

    def send_back(self, flow: Flow, payload: bytes, traffic_class: int) -> None:
        """Send an answer on to the client of *flow*."""
        ends = flow.ends
        if traffic_class != ends.back_class:
            ends.mark_answers(traffic_class, self.flows.settings.traffic_class(traffic_class))
        try:
            self._v4.sendmsg(datagram(ends.mapped, ends.client, payload), ends.back, 0, ends.to)
        except OSError:
            self._counters.lost()
        else:
            flow.received += len(payload)
            self._counters.to_v4(len(payload))

    def translate_error(self, packet: Packet) -> Send | None:
        """Translate an ICMPv6 error from an IPv6 host, in *packet*, for the client; or None."""
        found = quoted(icmp.V6, packet, UDP)
        if found is None:
            return None
        inner, translated = found
        ours, port = ports(inner)
        flow = self._replies.get((text6(inner.destination), port, packed6(inner.source), ours))
        if flow is None:
            return None
        self._counters.error("v6")
        sent = as_sent(inner, flow.ends.client, flow.ends.mapped)
        reporter = self._policy.maps.to_v4(packet.source, PROTOCOL)
        return pass_on(self.near, translated, sent, reporter, packet)
