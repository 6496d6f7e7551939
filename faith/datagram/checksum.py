"""The Internet checksum (RFC 1071) of ICMP, ICMPv6 and UDP."""

from __future__ import annotations

_ONES = 0xFFFF


def ones_sum(octets: bytes) -> int:
    """Return the ones' complement sum of *octets* in 16-bit words, padded with a zero octet."""
    if len(octets) % 2:
        octets += bytes(1)
    return int.from_bytes(octets, "big") % _ONES


def checksum(octets: bytes, pseudo: int = 0) -> int:
    """Return the checksum of *octets*, whose checksum field is zero.

    *pseudo* is the sum of the pseudo-header.
    """
    return _ONES - (ones_sum(octets) + pseudo) % _ONES


def holds(octets: bytes, pseudo: int = 0) -> bool:
    """Return whether the checksum in *octets* is right."""
    return (ones_sum(octets) + pseudo) % _ONES == 0


def adjusted(old: int, removed: int, added: int) -> int:
    """Return the checksum *old*, updated for words with the sum *removed* replaced by *added*.

    RFC 1624; for octets of which not all are at hand.
    """
    return _ONES - (_ONES - old - removed + added) % _ONES


def pseudo_v6(source: int, destination: int, length: int, protocol: int) -> int:
    """Return the sum of the pseudo-header of RFC 8200 §8.1; the addresses have 128 bits."""
    return (source + destination + length + protocol) % _ONES
