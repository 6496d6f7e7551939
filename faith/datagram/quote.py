"""The packet that an ICMP error is about, by what the error has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import MOST_V4, Packet, read_v4, read_v6

if TYPE_CHECKING:
    from faith.datagram.icmp import Message

LEAST = 8
"""Octets of its payload that must be there (RFC 792): ports, or an identifier, and a checksum."""


def about_v4(error: Message, protocol: int) -> Packet | None:
    """What an ICMP error is about, if that is of *protocol* and enough of it is there."""
    return _enough(read_v4(icmp.original_v4(error)), protocol)


def about_v6(error: Message, protocol: int) -> Packet | None:
    """The same of an ICMPv6 error about what came from IPv4, so fits into a packet there."""
    found = _enough(read_v6(icmp.original_v6(error)), protocol)
    return found if found and found.length <= MOST_V4 else None


def _enough(packet: Packet | None, protocol: int) -> Packet | None:
    if packet is None or packet.protocol != protocol or len(packet.payload) < LEAST:
        return None
    return packet
