"""UDP datagrams as octets: for quotes in ICMP errors, and with IPv4's checksum."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from faith.datagram.checksum import adjusted, checksum, ones_sum, pseudo_v6
from faith.datagram.packet import UDP, Packet
from faith.kernel.sockets.udp_sockets import header
from faith.translation.address import from_packed, number

if TYPE_CHECKING:
    from faith.datagram.icmp import IpVersion
    from faith.kernel.sockets.udp_sockets import Arrival

PROTOCOL = "udp"
"""The protocol's name in static maps."""

_PORTS = struct.Struct("!HH")
_NONE = 0xFFFF
"""Sent in the place of a checksum of 0, which means that there is none (RFC 768)."""


def datagram(source: tuple[int, int], destination: tuple[int, int], payload: bytes) -> list[bytes]:
    """Return the header, with its checksum, and the payload of a datagram between two endpoints.

    Endpoints are an address of either family, as a number, and a port.
    """
    (from_host, from_port), (to_host, to_port) = source, destination
    length = len(payload)
    # An IPv4 pseudo-header has the same sum: zeros do not count, wherever they are.
    pseudo = pseudo_v6(from_host, to_host, length + 8, UDP)
    found = checksum(header(from_port, to_port, length) + payload, pseudo) or _NONE
    return [header(from_port, to_port, length, found), payload]


def ports(packet: Packet) -> tuple[int, int]:
    """Return the source and destination port of a datagram, or its beginning, in *packet*."""
    source, destination = _PORTS.unpack_from(packet.payload)
    return source, destination


def as_sent(inner: Packet, source: tuple[int, int], destination: tuple[int, int]) -> Packet:
    """Return the packet of a datagram, or its beginning, translated back to the sender's endpoints.

    *inner* is the packet as the gateway sent it, maybe in the other family.  The checksum is
    updated without the missing octets (RFC 5508 REQ-4, RFC 7915 §4.5).
    """
    theirs = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    ours, rest = inner.payload[:6], inner.payload[8:]
    removed = ones_sum(ours[:4]) + inner.source + inner.destination
    added = ones_sum(theirs) + source[0] + destination[0]
    found = adjusted(int.from_bytes(inner.payload[6:8], "big"), removed, added)
    payload = theirs + ours[4:] + found.to_bytes(2, "big") + rest
    return inner._replace(source=source[0], destination=destination[0], payload=payload)


def whole(version: IpVersion, arrival: Arrival) -> bytes:
    """Rebuild the packet of *arrival*, as far as it is known."""
    (host, port), to = arrival.sender, from_packed(arrival.destination)
    source = number(host)
    octets = b"".join(datagram((source, port), (to, arrival.port), arrival.payload))
    return version.write(
        Packet(source, to, arrival.hops, arrival.traffic_class, UDP, len(octets), octets)
    )
