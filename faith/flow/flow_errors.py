"""ICMP errors about flows: translated, and made for packets that cannot go on (RFC 7915)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.checksum import adjusted, holds, ones_sum
from faith.datagram.icmp import (
    HEADERS_DIFFER_BY,
    HOPS_EXCEEDED_V4,
    HOPS_EXCEEDED_V6,
    LEAST_MTU_V6,
    TOO_BIG_V6,
    UNREACHABLE_V4,
    V4,
    V6,
    Error,
)
from faith.datagram.packet import ICMP, ICMPV6, read_v4, read_v6
from faith.datagram.report import about, pass_on, reporter_v6
from faith.flow.flow_output import is_link_local
from faith.kernel.flow.layout import HOPS4, HOPS6, ICMP4, ICMP6, SYNACK, TOO_BIG4, TOO_BIG6
from faith.translation.address import from_packed
from faith.translation.pseudo_header import TCP
from faith.translation.reasons import REFUSED, UNREACHABLE

if TYPE_CHECKING:
    from faith.datagram.packet import Packet
    from faith.flow.flow_ends import FlowEnds
    from faith.flow.flow_output import FlowOutput
    from faith.flow.flow_table import FlowTable
    from faith.flow.judge import Judge
    from faith.kernel.flow.layout import Event, Slot

_FRAGMENTATION_NEEDED = 4
_PORT_OR_PROTOCOL = (2, 3)
_CHECKSUM = slice(16, 18)
_MOST_V4 = 0xFFFF
_LEAST_V4 = 68


class FlowErrors:
    """Handles the events about packets of the flows in *table*."""

    def __init__(self, table: FlowTable, judge: Judge, ends: FlowEnds, output: FlowOutput) -> None:
        self._table = table
        self._judge = judge
        self._ends = ends
        self._output = output
        self._by_kind = {
            ICMP4: self._from_v4,
            ICMP6: self._from_v6,
            TOO_BIG6: self._too_big_for_v4,
            TOO_BIG4: self._too_big_for_v6,
            HOPS6: self._hops_from_v6,
            HOPS4: self._hops_from_v4,
        }

    def handle(self, event: Event) -> None:
        """Handle an *event*, unless its flow has ended meanwhile."""
        maps = self._table.maps
        handle = self._by_kind.get(event.kind)
        if handle and maps.generation_of(event.slot) == event.generation:
            handle(event, maps.read(event.slot))

    # -- errors that arrived -----------------------------------------------------------------

    def _from_v4(self, event: Event, slot: Slot) -> None:
        """Translate an ICMP error for the client (RFC 7915 §4.2, §4.3)."""
        packet = read_v4(event.packet)
        if packet is None or packet.protocol != ICMP or _is_damaged(packet):
            return
        message = icmp.read(packet.payload)
        inner = about(V4, message, TCP) if message else None
        if message is None or inner is None:
            return
        self._learn(event, slot, message)
        error = V4.translate(message, inner)
        if error is None:
            return
        if error.kind == TOO_BIG_V6:
            most = min(error.word, slot.mtu6, slot.mtu4 + HEADERS_DIFFER_BY)
            error = error._replace(word=max(most, LEAST_MTU_V6))
        prefix = self._judge.policy.prefixes.find(from_packed(slot.mapped))
        if prefix is None:
            return
        reporter = reporter_v6(packet.source, prefix, self._judge.policy)
        ports = slot.client_port.to_bytes(2, "big") + inner.payload[2:4]
        sent = _readdressed(inner, slot.client, slot.mapped, ports)
        self._output.pass_on(pass_on(V6, error, sent, reporter, packet, _scope(slot)))

    def _from_v6(self, event: Event, slot: Slot) -> None:
        """Translate an ICMPv6 error for the server (RFC 7915 §5.2, §5.3).

        It comes from the address that the server knows (RFC 6146 §3.5.4 maps no other).
        """
        packet = read_v6(event.packet)
        if packet is None or packet.protocol != ICMPV6 or _is_damaged(packet):
            return
        message = icmp.read(packet.payload)
        inner = about(V6, message, TCP) if message else None
        if message is None or inner is None:
            return
        if message.kind == TOO_BIG_V6:
            self._narrow(event.slot, slot, max(message.word, LEAST_MTU_V6))
        error = V6.translate(message, inner)
        if error is None:
            return
        if error[:2] == (UNREACHABLE_V4, _FRAGMENTATION_NEEDED):
            most = min(error.word, slot.mtu4, slot.mtu6 - HEADERS_DIFFER_BY)
            error = error._replace(word=max(most, _LEAST_V4))
        ports = inner.payload[:2] + slot.source_port.to_bytes(2, "big")
        sent = _readdressed(inner, slot.server, slot.source, ports)
        self._output.pass_on(pass_on(V4, error, sent, from_packed(slot.source), packet))

    def _narrow(self, number: int, slot: Slot, mtu: int) -> None:
        """Have the program know the MTU of a flow's path to its client.

        What may be fragmented is fragmented here (RFC 7915 §4): its sender need not heed errors.
        """
        if mtu < slot.mtu6:
            widths = slot.mtu4, mtu, slot.mss4, slot.mss6
            self._table.maps.reroute(number, slot.oif4, slot.oif6, *widths)

    def _learn(self, event: Event, slot: Slot, message: icmp.Message) -> None:
        """Remember why a flow without an answer ends."""
        if message.kind != UNREACHABLE_V4 or slot.state & SYNACK:
            return
        if message.code != _FRAGMENTATION_NEEDED:
            why = REFUSED if message.code in _PORT_OR_PROTOCOL else UNREACHABLE
            self._ends.learned[event.slot] = event.generation, why

    # -- packets of this gateway's own errors ------------------------------------------------

    def _too_big_for_v4(self, event: Event, slot: Slot) -> None:
        mtu = max(slot.mtu4 + HEADERS_DIFFER_BY, LEAST_MTU_V6)
        self._output.report_v6(Error(TOO_BIG_V6, 0, mtu), event.packet, slot.oif6)

    def _too_big_for_v6(self, event: Event, slot: Slot) -> None:
        mtu = min(max(slot.mtu6 - HEADERS_DIFFER_BY, _LEAST_V4), _MOST_V4)
        error = Error(UNREACHABLE_V4, _FRAGMENTATION_NEEDED, mtu)
        self._output.report_v4(error, event.packet)

    def _hops_from_v6(self, event: Event, slot: Slot) -> None:
        self._output.report_v6(HOPS_EXCEEDED_V6, event.packet, slot.oif6)

    def _hops_from_v4(self, event: Event, slot: Slot) -> None:
        self._output.report_v4(HOPS_EXCEEDED_V4, event.packet)


def _scope(slot: Slot) -> int:
    return slot.oif6 if is_link_local(slot.client) else 0


def _is_damaged(packet: Packet) -> bool:
    """Return whether the checksum of an ICMP error is wrong; that of one cut short is unknown."""
    return packet.whole and not holds(packet.payload, icmp.pseudo(packet))


def _readdressed(inner: Packet, source: bytes, destination: bytes, ports: bytes) -> Packet:
    """Return the packet *inner* as its sender sent it, with its own addresses and *ports*.

    The checksum, where it is quoted, is that of the sender's packet too.
    """
    payload = inner.payload
    if len(payload) >= _CHECKSUM.stop:
        before = inner.source + inner.destination + ones_sum(payload[:4])
        after = from_packed(source) + from_packed(destination) + ones_sum(ports)
        found = adjusted(int.from_bytes(payload[_CHECKSUM], "big"), before, after)
        payload = payload[:16] + found.to_bytes(2, "big") + payload[18:]
    return inner._replace(
        source=from_packed(source),
        destination=from_packed(destination),
        payload=ports + payload[4:],
    )
