"""Control messages of sendmsg(2): the address, hop limit and traffic class of one packet."""

from __future__ import annotations

import _socket
import struct

from faith.translation.address import V4, V6

Control = list[tuple[int, int, bytes]]
"""Control messages: level, type and octets of each."""

_INT = struct.Struct("=i")

_IP_PKTINFO, _IP_TTL, _IP_TOS = 8, 2, 1  # linux/in.h
_IPV6 = _socket.IPV6_PKTINFO, _socket.IPV6_HOPLIMIT, _socket.IPV6_TCLASS
_ZERO = bytes(4)
# The level, the types, and what comes before the source: struct in_pktinfo has the interface there,
# and a field behind it that is unused here; struct in6_pktinfo has the interface behind it.
_FORMS = {
    V4: (_socket.IPPROTO_IP, _IP_PKTINFO, _IP_TTL, _IP_TOS, _ZERO),
    V6: (_socket.IPPROTO_IPV6, *_IPV6, b""),
}


def control(
    family: int, source: bytes | None = None, hops: int = 0, traffic_class: int = 0
) -> Control:
    """Return the control messages to send a packet from *source* (packed), with *hops* left.

    *source* None is an address of the kernel's choice; 0 is the default of the others.
    """
    level, info, hop_limit, tos, before = _FORMS[family]
    found = []
    if source is not None:
        found.append((level, info, before + source + _ZERO))
    if hops:
        found.append((level, hop_limit, _INT.pack(hops)))
    if traffic_class:
        found.append((level, tos, _INT.pack(traffic_class)))
    return found
