"""TCP segments: SYNs of IPv6 clients verified and translated, and resets of either version.

Packets are octets from the IP header on, addresses and ports are packed.
"""

from __future__ import annotations

import struct

from faith.translation.pseudo_header import TCP, pseudo_sum

FIN, SYN, RST, ACK = 1, 2, 4, 16
HEADER_V6, HEADER_V4 = 40, 20
LEAST = 20
"""Octets of a TCP header without options."""
HOPS = 64
"""The hop limit of packets that this gateway makes."""

_V4 = struct.Struct("!BBHHHBBH4s4s")
_V6 = struct.Struct("!IHBB")
_SEGMENT = struct.Struct("!4sIIBBHHH")  # ports, numbers, offset, flags, window, checksum, urgent
_HEADER_WORDS = 5 << 4
_END, _NOTHING, _MSS = 0, 1, 2
_ONES = 0xFFFF
_DONT_FRAGMENT = 0x4000
LEAST_WITH_DF = 1260
"""Octets of an IPv4 packet above which DF is set (RFC 7915 §5.1)."""


def end_of_syn(packet: bytes) -> int:
    """Return where the SYN in an IPv6 *packet* ends; 0 unless it is whole and its checksum holds.

    A SYN of a local sender, whose checksum is to be completed by the hardware, has the sum of the
    pseudo-header in that field.
    """
    if len(packet) < HEADER_V6 + LEAST or packet[6] != TCP or packet[0] >> 4 != 6:
        return 0
    length = packet[4] << 8 | packet[5]
    end = HEADER_V6 + length
    if end > len(packet) or not LEAST <= packet[52] >> 4 << 2 <= length:
        return 0
    return end if sum_holds(packet[8:end], length) else 0


def sum_holds(octets: bytes, length: int, addresses: int = 32) -> bool:
    """Return whether the checksum in a segment is right, or to be completed by the hardware.

    *octets* are the addresses, of so many octets, and the segment, whose *length* they have.
    """
    padded = octets + b"\0" if length % 2 else octets
    if (int.from_bytes(padded, "big") + length + TCP) % _ONES == 0:
        return True
    return is_partial(octets[:addresses], octets[addresses:])


def is_partial(addresses: bytes, segment: bytes) -> bool:
    """Return whether the checksum of *segment* is the pseudo-header's sum alone."""
    field = segment[16] << 8 | segment[17]
    return (field - pseudo_sum(addresses, len(segment))) % _ONES == 0


def with_checksum(segment: bytearray, addresses: bytes) -> bytearray:
    """Write the checksum of *segment* between *addresses* into it, and return it."""
    segment[16:18] = b"\0\0"
    length = len(segment)
    octets = addresses + segment + b"\0" if length % 2 else addresses + segment
    segment[16:18] = (_ONES - (int.from_bytes(octets, "big") + length + TCP) % _ONES).to_bytes(
        2, "big"
    )
    return segment


def clamp(segment: bytearray, most: int) -> None:
    """Make the MSS that the SYN *segment* announces no greater than *most* octets.

    The checksum is to be written afterwards.
    """
    at, end = LEAST, min(segment[12] >> 4 << 2, len(segment))
    while at + 4 <= end:
        kind = segment[at]
        if kind == _MSS and segment[at + 1] == 4:
            if segment[at + 2] << 8 | segment[at + 3] > most:
                segment[at + 2 : at + 4] = most.to_bytes(2, "big")
            return
        if kind == _END:
            return
        step = 1 if kind == _NOTHING else segment[at + 1]
        if not step:
            return
        at += step


def translated_syn(
    packet: bytes, end: int, ends: bytes, port: bytes, mss: int
) -> tuple[bytes, bytes]:
    """Return the header and the segment of an IPv4 packet for the SYN that *packet* is until *end*.

    *ends* are its source and its destination, *port* its source port (RFC 7915 §5.1).
    """
    segment = bytearray(packet[HEADER_V6:end])
    segment[:2] = port
    if mss:
        clamp(segment, mss)
    with_checksum(segment, ends)
    octet = (packet[0] & 15) << 4 | packet[1] >> 4
    return header_v4(ends, len(segment), packet[7] - 1, octet), bytes(segment)


def header_v4(ends: bytes, length: int, hops: int = HOPS, octet: int = 0) -> bytes:
    """Return an IPv4 header for a segment of *length* octets; the kernel adds its checksum.

    *ends* are source and destination, *octet* is the TOS.
    """
    total = HEADER_V4 + length
    flags = _DONT_FRAGMENT if total > LEAST_WITH_DF else 0
    return _V4.pack(0x45, octet, total, 0, flags, hops, TCP, 0, ends[:4], ends[4:])


def header_v6(ends: bytes, length: int, hops: int = HOPS, octet: int = 0, kind: int = TCP) -> bytes:
    """Return an IPv6 header for *length* octets of the protocol *kind*.

    *ends* are source and destination, *octet* is the traffic class.
    """
    return _V6.pack(0x60000000 | octet << 20, length, kind, hops) + ends


def segment_of(ends: bytes, ports: bytes, number: int, answer: int, flags: int) -> bytes:
    """Return a segment without data.

    *ends* and *ports* are those of the source and of the destination, *number* is its sequence
    number and *answer* its acknowledgement number.
    """
    bare = bytearray(_SEGMENT.pack(ports, number, answer, _HEADER_WORDS, flags, 0, 0, 0))
    return bytes(with_checksum(bare, ends))


def reset_for(segment: bytes, ends: bytes) -> bytes:
    """Return the reset that answers *segment* of no connection (RFC 9293 §3.5.2, group 1).

    *ends* are the source and the destination of the reset.  The caller answers no reset.
    """
    ports = segment[2:4] + segment[:2]
    _, number, answer, offset, flags, *_ = _SEGMENT.unpack_from(segment)
    if flags & ACK:
        return segment_of(ends, ports, answer, 0, RST)
    length = len(segment) - (offset >> 4 << 2) + bool(flags & SYN) + bool(flags & FIN)
    return segment_of(ends, ports, 0, number + length & 0xFFFFFFFF, RST | ACK)
