"""IPv4 and IPv6 packets, parsed and written: whole ones, and the beginnings quoted in errors."""

from __future__ import annotations

import struct
from typing import NamedTuple

from faith.datagram.checksum import checksum, holds
from faith.translation.address import from_packed, packed6

ICMP, UDP, ICMPV6 = 1, 17, 58

_IPV4 = struct.Struct("!BBHHHBBHII")
_IPV6 = struct.Struct("!IHBB16s16s")
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
_EXTENSIONS = (_HOP_BY_HOP, _ROUTING, _DESTINATION)
_NEXT_HEADER, _SEGMENTS_LEFT = 6, 3
_OFFSET_V4, _OFFSET_V6 = 0x1FFF, 0xFFF8
_DONT_FRAGMENT = 0x4000

MOST_V4 = 0xFFFF - _IPV4.size
"""The most octets of an IPv4 packet after a header without options."""


class Packet(NamedTuple):
    """A packet, or the beginning of one: *payload* may be shorter than *length*.

    *hops* is the hop limit or the TTL, *traffic_class* the TOS octet.  *payload* comes after
    options and extension headers, and *length* is its whole length in octets by the header.
    """

    source: int
    destination: int
    hops: int
    traffic_class: int
    protocol: int
    length: int
    payload: bytes

    @property
    def whole(self) -> bool:
        """True if the payload is complete."""
        return len(self.payload) == self.length


def read_v4(octets: bytes) -> Packet | None:
    """Parse the IPv4 packet that *octets* begin with; None for anything else and for later
    fragments.

    The checksum of its header must be right (RFC 5508 REQ-3).
    """
    if len(octets) < _IPV4.size:
        return None
    first, tos, total, _, fragment, ttl, protocol, _, source, to = _IPV4.unpack_from(octets)
    start = (first & 0xF) * 4
    if first >> 4 != 4 or start < _IPV4.size or total < start or fragment & _OFFSET_V4:
        return None
    if len(octets) < start or not holds(octets[:start]):
        return None
    return Packet(source, to, ttl, tos, protocol, total - start, octets[start:total])


def read_v6(octets: bytes) -> Packet | None:
    """Parse the IPv6 packet that *octets* begin with; None for anything else, later fragments, and
    packets that have a way to go by their routing header (RFC 7915 §5.1)."""
    if len(octets) < _IPV6.size:
        return None
    first, length, protocol, hops, source, to = _IPV6.unpack_from(octets)
    if first >> 28 != 6:
        return None
    start, end = _IPV6.size, _IPV6.size + length
    while protocol in _EXTENSIONS or protocol == _FRAGMENT:
        if len(octets) < start + 8:
            return None
        following, size = octets[start], (octets[start + 1] + 1) * 8
        if protocol == _ROUTING and octets[start + _SEGMENTS_LEFT]:
            return None
        if protocol == _FRAGMENT:
            size = 8
            if int.from_bytes(octets[start + 2 : start + 4], "big") & _OFFSET_V6:
                return None
        protocol, start = following, start + size
    if start > end:
        return None
    return Packet(
        from_packed(source),
        from_packed(to),
        hops,
        first >> 20 & 0xFF,
        protocol,
        end - start,
        octets[start:end],
    )


def segments_left_at(octets: bytes) -> int:
    """Return the offset of the field Segments Left in an IPv6 packet if there are any, else 0."""
    kind, start = octets[_NEXT_HEADER], _IPV6.size
    while kind in (*_EXTENSIONS, _FRAGMENT) and len(octets) >= start + 8:
        if kind == _ROUTING and octets[start + _SEGMENTS_LEFT]:
            return start + _SEGMENTS_LEFT
        size = 8 if kind == _FRAGMENT else (octets[start + 1] + 1) * 8
        kind, start = octets[start], start + size
    return 0


def write_v4(packet: Packet) -> bytes:
    """Return *packet* with an IPv4 header that has the DF bit set."""
    header = [0x45, packet.traffic_class, 20 + packet.length, 0, _DONT_FRAGMENT]
    header += [packet.hops, packet.protocol, 0, packet.source, packet.destination]
    header[7] = checksum(_IPV4.pack(*header))
    return _IPV4.pack(*header) + packet.payload


def write_v6(packet: Packet) -> bytes:
    """Return *packet* with an IPv6 header."""
    first = 6 << 28 | packet.traffic_class << 20
    addresses = packed6(packet.source), packed6(packet.destination)
    header = _IPV6.pack(first, packet.length, packet.protocol, packet.hops, *addresses)
    return header + packet.payload
