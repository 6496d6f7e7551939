"""Fragments of IPv6 packets, for paths narrower than the kernel knows (RFC 8200 §4.5)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("!BBH4s")
_IPV6_HEADER = 40
_MORE = 1


def room(mtu: int) -> int:
    """Return the octets behind an IPv6 header in a packet of *mtu* octets."""
    return mtu - _IPV6_HEADER


def fragments(protocol: int, octets: bytes, mtu: int) -> Iterator[bytes]:
    """Yield the fragments of a packet of *protocol*: fragment header and data, 40 octets below
    *mtu* at most.

    *octets* are everything behind the IPv6 header, checksum included.  The identification is random
    (RFC 7739 §5.3).
    """
    most = (room(mtu) - _HEADER.size) & ~7
    identification = os.urandom(4)
    for start in range(0, len(octets), most):
        more = _MORE if start + most < len(octets) else 0
        yield _HEADER.pack(protocol, 0, start | more, identification) + octets[start : start + most]
