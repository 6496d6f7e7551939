"""UDP datagrams as octets: for quotes in ICMP errors, and with IPv4's checksum."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.datagram.checksum import adjusted, checksum, ones_sum, pseudo_v6
from faith.datagram.packet import UDP, Packet, write_v4, write_v6
from faith.kernel.sockets.udp_sockets import header

if TYPE_CHECKING:
    from faith.kernel.sockets.udp_sockets import Arrival

PROTOCOL = "udp"
"""The protocol's name in static maps."""

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
    return int.from_bytes(packet.payload[:2], "big"), int.from_bytes(packet.payload[2:4], "big")


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


def whole_v6(arrival: Arrival) -> bytes:
    """Rebuild the IPv6 packet of *arrival*, as far as it is known."""
    source, to = _v6(arrival.sender[0]), int.from_bytes(arrival.destination, "big")
    octets = b"".join(datagram((source, arrival.sender[1]), (to, arrival.port), arrival.payload))
    return write_v6(Packet(source, to, arrival.hops, 0, UDP, len(octets), octets))


def whole_v4(arrival: Arrival) -> bytes:
    """Rebuild the IPv4 packet of *arrival*, as far as it is known."""
    source, to = _v4(arrival.sender[0]), int.from_bytes(arrival.destination, "big")
    octets = b"".join(datagram((source, arrival.sender[1]), (to, arrival.port), arrival.payload))
    return write_v4(Packet(source, to, arrival.hops, 0, UDP, len(octets), octets))


def _v6(host: str) -> int:
    return int.from_bytes(_socket.inet_pton(_socket.AF_INET6, host), "big")


def _v4(host: str) -> int:
    return int.from_bytes(_socket.inet_aton(host), "big")
