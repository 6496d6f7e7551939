"""Packets that the program left to the stack: put together from fragments, with IP options or
extension headers, to be fragmented, or of no flow (RFC 7915 §4.1, §5.1)."""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

from faith.datagram.checksum import adjusted, ones_sum
from faith.datagram.fragments import fragments
from faith.datagram.icmp import (
    HEADERS_DIFFER_BY,
    HOPS_EXCEEDED_V4,
    HOPS_EXCEEDED_V6,
    PARAMETER_PROBLEM_V6,
    UNREACHABLE_V4,
    Error,
)
from faith.datagram.packet import MOST_V4, read_v4, read_v6, segments_left_at
from faith.flow.tcp_segment import (
    ACK,
    FIN,
    HEADER_V4,
    HEADER_V6,
    LEAST,
    RST,
    SYN,
    header_v6,
    is_partial,
    with_checksum,
)
from faith.kernel.flow.layout import CLIENT, CLOSED, FIN4, FIN6, SERVER, Side
from faith.translation.address import packed4, packed6
from faith.translation.pseudo_header import TCP

if TYPE_CHECKING:
    from faith.datagram.packet import Packet
    from faith.flow.flow_counters import FlowCounters
    from faith.flow.flow_ends import FlowEnds
    from faith.flow.flow_output import FlowOutput
    from faith.flow.flow_table import FlowTable
    from faith.kernel.flow.layout import Slot
    from faith.kernel.netlink.packet_log import PacketLog

BATCH = 64
"""Packets read before others have their turn."""

_V4 = struct.Struct("!BBHHHBBH4s4s")
_FRAGMENT = 44
_PLAIN_V4 = 0x45
_DONT_FRAGMENT_AT, _DONT_FRAGMENT = 6, 0x40
_MORE, _UNIT = 0x2000, 8
_FRAGMENTATION_NEEDED = 4
_ONES32 = 0xFFFFFFFF
_HALF = 1 << 31


class Fallen:
    """Translates the packets of *log* that belong to flows of *table*."""

    def __init__(
        self,
        log: PacketLog,
        table: FlowTable,
        ends: FlowEnds,
        output: FlowOutput,
        counters: FlowCounters,
    ) -> None:
        self._log = log
        self._table = table
        self._ends = ends
        self._output = output
        self._counters = counters

    def read(self) -> None:
        """Read a batch of packets, and send them on."""
        for octets, interface in self._log.read(BATCH):
            if octets[:1] and octets[0] >> 4 == 4:
                self._from_v4(octets)
            else:
                self._from_v6(octets, interface)

    def _from_v4(self, octets: bytes) -> None:
        packet = read_v4(octets)
        if packet is None or not _is_segment(packet):
            return
        payload = packet.payload
        key4 = packed4(packet.source) + packed4(packet.destination) + payload[:4]
        number = self._table.ports.holders.get(key4, -1)
        if number < 0:
            self._counters.stray("v4")
            return
        slot = self._table.maps.read(number)
        if packet.hops <= 1:
            self._output.report_v4(HOPS_EXCEEDED_V4, octets)
            return
        if _is_indivisible(octets) and HEADER_V6 + packet.length > slot.mtu6:
            mtu = slot.mtu6 - HEADERS_DIFFER_BY
            self._output.report_v4(Error(UNREACHABLE_V4, _FRAGMENTATION_NEEDED, mtu), octets)
            return
        self._account(number, slot, payload, SERVER)
        ports = payload[:2] + slot.client_port.to_bytes(2, "big")
        segment = _translated(packet, key4[:8], slot.mapped + slot.client, ports)
        self._send_v6(packet, slot, segment)

    def _send_v6(self, packet: Packet, slot: Slot, segment: bytes) -> None:
        ends, hops, octet = slot.mapped + slot.client, packet.hops - 1, packet.traffic_class
        if HEADER_V6 + len(segment) <= slot.mtu6:
            header = header_v6(ends, len(segment), hops, octet)
            self._output.send_v6(header + segment, slot.oif6)
        else:
            for piece in fragments(TCP, segment, slot.mtu6):
                header = header_v6(ends, len(piece), hops, octet, _FRAGMENT)
                self._output.send_v6(header + piece, slot.oif6)
        self._counters.carried("v6")

    def _from_v6(self, octets: bytes, interface: int) -> None:
        packet = read_v6(octets)
        if packet is None:
            self._report_route(octets, interface)
            return
        if not _is_segment(packet):
            return
        payload = packet.payload
        ends = packed6(packet.source) + packed6(packet.destination)
        number = self._table.by_key6.get(ends + payload[:4], -1)
        if number < 0:
            self._counters.stray("v6")
            self._output.reset_stray(ends, payload, interface)
            return
        slot = self._table.maps.read(number)
        if packet.hops <= 1:
            self._output.report_v6(HOPS_EXCEEDED_V6, octets, interface)
            return
        self._account(number, slot, payload, CLIENT)
        ports = slot.source_port.to_bytes(2, "big") + payload[2:4]
        segment = _translated(packet, ends, slot.source + slot.server, ports)
        for piece in pieces_v4(packet, slot.source + slot.server, segment, slot.mtu4):
            self._output.send_v4(piece)
        self._counters.carried("v4")

    def _report_route(self, octets: bytes, interface: int) -> None:
        """Answer a packet that its routing header leads elsewhere (RFC 7915 §5.1)."""
        at = segments_left_at(octets) if len(octets) >= HEADER_V6 else 0
        if at:
            self._output.report_v6(Error(PARAMETER_PROBLEM_V6, 0, at), octets, interface)

    def _account(self, number: int, slot: Slot, segment: bytes, side: int) -> None:
        """Write a segment's part into its slot, as the program does for those that it
        translates."""
        maps = self._table.maps
        before = slot.from_client if side == CLIENT else slot.from_server
        flags, data = segment[13], len(segment) - (segment[12] >> 4 << 2)
        end = int.from_bytes(segment[4:8], "big") + data + bool(flags & FIN) + bool(flags & SYN)
        is_newer = not before.next or 0 < (end - before.next & _ONES32) < _HALF
        found = Side(
            end & _ONES32 if is_newer and not flags & RST else before.next,
            int.from_bytes(segment[8:12], "big") if flags & ACK else before.acked,
            time.monotonic_ns(),
            before.packets + 1,
            before.octets + data,
        )
        maps.arrived(number, side, found)
        if flags & FIN:
            self._close_half(number, slot, FIN6 if side == CLIENT else FIN4)

    def _close_half(self, number: int, slot: Slot, bit: int) -> None:
        """Note a FIN; with that of the other side the flow is closed."""
        both = (slot.state | bit) & (FIN6 | FIN4) == FIN6 | FIN4
        is_close = both and not slot.state & CLOSED
        self._table.maps.mark(number, bit | (CLOSED if is_close else 0))
        if is_close:
            self._ends.closed(number, slot.generation, time.monotonic_ns())


def _is_indivisible(octets: bytes) -> bool:
    """Return whether an IPv4 packet must not be fragmented.

    One that came in fragments with DF set has been put together, and each of them fitted.  The
    program leaves no other packet with DF set to the stack, unless it has options.
    """
    return bool(octets[_DONT_FRAGMENT_AT] & _DONT_FRAGMENT) and octets[0] != _PLAIN_V4


def _is_segment(packet: Packet) -> bool:
    """Return whether a packet has a whole TCP segment."""
    payload = packet.payload
    return (
        packet.protocol == TCP
        and packet.whole
        and packet.length <= MOST_V4
        and len(payload) >= LEAST
        and LEAST <= payload[12] >> 4 << 2 <= len(payload)
    )


def _translated(packet: Packet, before: bytes, after: bytes, ports: bytes) -> bytes:
    """Return the segment of *packet* with other *ports*, between the addresses *after*.

    Its checksum changes with what *before*, its addresses, and its ports were, so that a damaged
    segment stays damaged.  One that the hardware was to complete is completed.
    """
    segment = packet.payload
    if is_partial(before, segment):
        return bytes(with_checksum(bytearray(ports + segment[4:]), after))
    old = int.from_bytes(segment[16:18], "big")
    removed = ones_sum(before) + ones_sum(segment[:4])
    found = adjusted(old, removed, ones_sum(after) + ones_sum(ports))
    return ports + segment[4:16] + found.to_bytes(2, "big") + segment[18:]


def pieces_v4(packet: Packet, ends: bytes, segment: bytes, mtu: int) -> list[bytes]:
    """Return the IPv4 packets, not larger than *mtu*, that carry *segment* between *ends*.

    They may be fragmented further on: the packet came in fragments, or may have (RFC 7915 §5.1.1).
    """
    identification = int.from_bytes(os.urandom(2), "big") or 1
    most = max((mtu - HEADER_V4) // _UNIT * _UNIT, _UNIT)
    if HEADER_V4 + len(segment) <= mtu:
        most = len(segment)
    found = []
    for at in range(0, len(segment), most):
        part = segment[at : at + most]
        where = at // _UNIT | (_MORE if at + most < len(segment) else 0)
        header = _V4.pack(
            *(_PLAIN_V4, packet.traffic_class, HEADER_V4 + len(part), identification, where),
            *(packet.hops - 1, TCP, 0, ends[:4], ends[4:]),
        )
        found.append(header + part)
    return found
