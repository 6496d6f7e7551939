"""Sums of the pseudo-headers of TCP, and what translation changes in them (RFC 7915 §4.5, §5.5).

Addresses are packed octets, the source's and the destination's joined.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

TCP = 6
_ONES16, _ONES32 = 0xFFFF, 0xFFFFFFFF


def pseudo_sum(addresses: bytes, length: int, protocol: int = TCP) -> int:
    """Return the ones' complement sum of a pseudo-header, of either version of IP.

    *length* is that of the segment in octets (RFC 9293 §3.1, RFC 8200 §8.1).
    """
    return (int.from_bytes(addresses, "big") + length + protocol) % _ONES16


def sum_change(
    before: bytes, after: bytes, byteorder: Literal["little", "big"] = sys.byteorder
) -> int:
    """Return what must be added to the 32-bit sum of the addresses *before* for that of *after*.

    The sum is of words as a CPU of *byteorder* reads them; both are multiples of 4 octets.
    """
    return (int.from_bytes(after, byteorder) - int.from_bytes(before, byteorder)) % _ONES32
