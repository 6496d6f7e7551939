"""The Internet checksum (RFC 1071), as ICMP and ICMPv6 have it."""

from __future__ import annotations

_ONES = 0xFFFF


def ones_sum(octets: bytes) -> int:
    """The ones' complement sum of *octets* in words of 16 bits; an odd one is padded with zero."""
    if len(octets) % 2:
        octets += bytes(1)
    return int.from_bytes(octets, "big") % _ONES


def checksum(octets: bytes, pseudo: int = 0) -> int:
    """What belongs in the checksum field of *octets*, which have zero there now.

    *pseudo* is the sum of a pseudo-header.
    """
    return _ONES - (ones_sum(octets) + pseudo) % _ONES


def holds(octets: bytes, pseudo: int = 0) -> bool:
    """Whether the checksum in *octets* is right."""
    return (ones_sum(octets) + pseudo) % _ONES == 0


def adjusted(old: int, removed: int, added: int) -> int:
    """The checksum that *old* becomes when words that sum up to *removed* become *added*.

    RFC 1624, for octets of which not all are at hand.
    """
    return _ONES - (_ONES - old - removed + added) % _ONES


def pseudo_v6(source: int, destination: int, length: int, protocol: int) -> int:
    """The sum of the pseudo-header of RFC 8200 §8.1; the addresses have 128 bits."""
    return (source + destination + length + protocol) % _ONES
