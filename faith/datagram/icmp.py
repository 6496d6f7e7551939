"""ICMP and ICMPv6 messages, and the translation of errors between them (RFC 7915 §4.2, §5.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from faith.datagram.checksum import adjusted, checksum, holds, ones_sum, pseudo_v6
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v4, read_v6, write_v4, write_v6

if TYPE_CHECKING:
    from collections.abc import Callable

ECHO_V4, ECHO_REPLY_V4 = 8, 0
ECHO_V6, ECHO_REPLY_V6 = 128, 129

UNREACHABLE_V4, TIME_EXCEEDED_V4, PARAMETER_PROBLEM_V4 = 3, 11, 12
ERRORS_V4 = (UNREACHABLE_V4, TIME_EXCEEDED_V4, PARAMETER_PROBLEM_V4)
UNREACHABLE_V6, TOO_BIG_V6, TIME_EXCEEDED_V6, PARAMETER_PROBLEM_V6 = 1, 2, 3, 4
ERRORS_V6 = (UNREACHABLE_V6, TOO_BIG_V6, TIME_EXCEEDED_V6, PARAMETER_PROBLEM_V6)

LEAST_MTU_V6 = 1280
HEADERS_DIFFER_BY = 20
"""Octets by which an IPv6 header is longer than an IPv4 header."""

_MESSAGE = struct.Struct("!BBHI")
HEADER = _MESSAGE.size
QUOTED_V6 = 1280 - 40 - HEADER
"""Octets of a packet that fit into an ICMPv6 error about it (RFC 4443 §2.4 c)."""
QUOTED_V4 = 576 - 20 - HEADER
"""Octets of a packet that fit into an ICMP error about it (RFC 1812 §4.3.2.3)."""

_FRAGMENTATION_NEEDED, _PROTOCOL_UNREACHABLE = 4, 2
_NO_ROUTE, _PROHIBITED, _ADDRESS_UNREACHABLE, _PORT_UNREACHABLE = 0, 1, 3, 4
_CODES_TO_V6 = {
    **dict.fromkeys((0, 1, 5, 6, 7, 8, 11, 12), _NO_ROUTE),
    **dict.fromkeys((9, 10, 13, 15), _PROHIBITED),
    3: _PORT_UNREACHABLE,
}
_CODES_TO_V4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}
_NEXT_HEADER = 6  # the offset of this field in an IPv6 header

# RFC 7915, figures 3 and 6: the offset of a field in the other family's header.
_POINTERS_TO_V6 = {
    **dict(zip((0, 1, 2, 3, 8, 9), (0, 1, 4, 4, 7, 6), strict=True)),
    **dict.fromkeys(range(12, 16), 8),
    **dict.fromkeys(range(16, 20), 24),
}
_POINTERS_TO_V4 = {
    **dict(zip((0, 1, 4, 5, 6, 7), (0, 1, 2, 2, 9, 8), strict=True)),
    **dict.fromkeys(range(8, 24), 12),
    **dict.fromkeys(range(24, 40), 16),
}
# RFC 1191 §7, down to the least MTU of IPv6.
_PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, LEAST_MTU_V6)


class Message(NamedTuple):
    """A message: *word* is the second half of its header, *body* the octets after it."""

    kind: int
    code: int
    word: int
    body: bytes

    @property
    def identifier(self) -> int:
        """The identifier of an echo request or reply."""
        return self.word >> 16

    @property
    def sequence(self) -> int:
        """The sequence number of an echo request or reply."""
        return self.word & 0xFFFF

    @property
    def mtu(self) -> int:
        """The next-hop MTU of an ICMP "fragmentation needed" in octets, 0 for none."""
        return self.word & 0xFFFF


class Error(NamedTuple):
    """The header of an error: type, code, and the word with MTU or pointer."""

    kind: int
    code: int
    word: int = 0


NO_ROUTE_V6 = Error(UNREACHABLE_V6, _NO_ROUTE)
PROHIBITED_V6 = Error(UNREACHABLE_V6, _PROHIBITED)
NO_ADDRESS_V6 = Error(UNREACHABLE_V6, _ADDRESS_UNREACHABLE)
"""That no IPv4 address is there to send from (RFC 6146 §3.5.1.1)."""
HOPS_EXCEEDED_V6 = Error(TIME_EXCEEDED_V6, 0)
UNREACHABLE_HOST_V4 = Error(UNREACHABLE_V4, 1)
PROHIBITED_V4 = Error(UNREACHABLE_V4, 13)
HOPS_EXCEEDED_V4 = Error(TIME_EXCEEDED_V4, 0)


def read(octets: bytes) -> Message | None:
    """Parse a message; None for one that is too short.  The checksum is not verified."""
    if len(octets) < HEADER:
        return None
    kind, code, _, word = _MESSAGE.unpack_from(octets)
    return Message(kind, code, word, octets[HEADER:])


def within(packet: Packet | None) -> Message | None:
    """Return the ICMP message in an IPv4 packet, None unless its checksum is right (RFC 5508
    REQ-3)."""
    if packet is None or packet.protocol != ICMP or not holds(packet.payload):
        return None
    return read(packet.payload)


def echo(kind: int, identifier: int, sequence: int, body: bytes, pseudo: int = 0) -> bytes:
    """Return an echo request or reply; *pseudo* is the sum of ICMPv6's pseudo-header."""
    return _octets(kind, 0, identifier << 16 | sequence, body, pseudo)


def as_asked(inner: Packet, source: int, destination: int, kind: int, identifier: int) -> Packet:
    """Return the packet of an echo request, or its beginning, translated back to the client's side.

    *inner* is the packet as the gateway sent it, in the other family; *kind* and *identifier* are
    those of the client's request.  The checksum is updated without the missing octets (RFC 5508
    REQ-4).
    """
    ours, rest = inner.payload[:HEADER], inner.payload[HEADER:]
    theirs = bytes([kind, 0, 0, 0]) + identifier.to_bytes(2, "big") + ours[6:]
    protocol = ICMP if kind == ECHO_V4 else ICMPV6
    asked = inner._replace(source=source, destination=destination, protocol=protocol)
    old = int.from_bytes(ours[2:4], "big")
    found = adjusted(old, ones_sum(ours) - old + pseudo(inner), ones_sum(theirs) + pseudo(asked))
    return asked._replace(payload=theirs[:2] + found.to_bytes(2, "big") + theirs[4:] + rest)


def pseudo(packet: Packet) -> int:
    """Return the sum of a packet's pseudo-header, 0 for ICMP, which has none."""
    if packet.protocol == ICMP:
        return 0
    return pseudo_v6(packet.source, packet.destination, packet.length, packet.protocol)


def write(message: Message, pseudo: int = 0) -> bytes:
    """Return the octets of *message*, with its checksum."""
    return _octets(*message, pseudo)


def _octets(kind: int, code: int, word: int, body: bytes, pseudo: int) -> bytes:
    found = checksum(_MESSAGE.pack(kind, code, 0, word) + body, pseudo)
    return _MESSAGE.pack(kind, code, found, word) + body


def to_v6(error: Message, total: int) -> Error | None:
    """Translate an ICMP error into ICMPv6; None for one without a counterpart (RFC 7915 §4.2).

    *total* is the length in octets of the packet that it is about.
    """
    kind, code, word, _ = error
    if kind == UNREACHABLE_V4:
        return _unreachable_to_v6(code, error.mtu, total)
    if kind == TIME_EXCEEDED_V4:
        return Error(TIME_EXCEEDED_V6, code)
    if kind == PARAMETER_PROBLEM_V4 and code in (0, 2):
        pointer = _POINTERS_TO_V6.get(word >> 24)
        return None if pointer is None else Error(PARAMETER_PROBLEM_V6, 0, pointer)
    return None


def _unreachable_to_v6(code: int, mtu: int, total: int) -> Error | None:
    if code == _FRAGMENTATION_NEEDED:
        mtu = mtu or next((size for size in _PLATEAUS if size < total), LEAST_MTU_V6)
        return Error(TOO_BIG_V6, 0, max(mtu + HEADERS_DIFFER_BY, LEAST_MTU_V6))
    if code == _PROTOCOL_UNREACHABLE:
        return Error(PARAMETER_PROBLEM_V6, 1, _NEXT_HEADER)
    found = _CODES_TO_V6.get(code)
    return None if found is None else Error(UNREACHABLE_V6, found)


def to_v4(error: Message) -> Error | None:
    """Translate an ICMPv6 error into ICMP; None for one without a counterpart (RFC 7915 §5.2)."""
    kind, code, word, _ = error
    if kind == UNREACHABLE_V6:
        found = _CODES_TO_V4.get(code)
        return None if found is None else Error(UNREACHABLE_V4, found)
    if kind == TOO_BIG_V6:
        mtu = min(max(word - HEADERS_DIFFER_BY, 0), 0xFFFF)
        return Error(UNREACHABLE_V4, _FRAGMENTATION_NEEDED, mtu)
    if kind == TIME_EXCEEDED_V6:
        return Error(TIME_EXCEEDED_V4, code)
    if (kind, code) == (PARAMETER_PROBLEM_V6, 0):
        pointer = _POINTERS_TO_V4.get(word)
        return None if pointer is None else Error(PARAMETER_PROBLEM_V4, 0, pointer << 24)
    if (kind, code) == (PARAMETER_PROBLEM_V6, 1):
        return Error(UNREACHABLE_V4, _PROTOCOL_UNREACHABLE)
    return None


def original_v4(error: Message) -> bytes:
    """Return the beginning of the packet an ICMP error is about, without extensions (RFC 4884)."""
    return _without_extensions(error.body, (error.word >> 16 & 0xFF) * 4)


def original_v6(error: Message) -> bytes:
    """Return the beginning of the packet an ICMPv6 error is about, without extensions
    (RFC 4884)."""
    if error.kind not in (UNREACHABLE_V6, TIME_EXCEEDED_V6):
        return error.body  # the octet is part of an MTU or a pointer
    return _without_extensions(error.body, (error.word >> 24) * 8)


def _without_extensions(body: bytes, length: int) -> bytes:
    return body[:length] if length >= 128 else body


@dataclass(frozen=True, slots=True)
class IpVersion:
    """A version of IP as far as ICMP differs by it; *name* is "v4" or "v6".

    *protocol* is that of its ICMP, and *message* reads it out of a packet.  *translate* translates
    an error for the other version, given the quoted packet.  *quoted* is how many octets of a
    packet fit into an error about it.  *is_host* says whether an address can be a host's own.
    *above* is added to an address to have one of 128 bits, different for both versions: IPv4 is at
    ::ffff:0:0/96.
    """

    name: str
    is_v6: bool
    protocol: int
    echo: int
    echo_reply: int
    errors: tuple[int, ...]
    read: Callable[[bytes], Packet | None]
    write: Callable[[Packet], bytes]
    message: Callable[[Packet], Message | None]
    original: Callable[[Message], bytes]
    translate: Callable[[Message, Packet], Error | None]
    quoted: int
    no_route: Error
    prohibited: Error
    hops_exceeded: Error
    is_host: Callable[[int], bool]
    above: int


V4 = IpVersion(
    name="v4",
    is_v6=False,
    protocol=ICMP,
    echo=ECHO_V4,
    echo_reply=ECHO_REPLY_V4,
    errors=ERRORS_V4,
    read=read_v4,
    write=write_v4,
    message=within,
    original=original_v4,
    translate=lambda error, about: to_v6(error, HEADERS_DIFFER_BY + about.length),
    quoted=QUOTED_V4,
    no_route=UNREACHABLE_HOST_V4,
    prohibited=PROHIBITED_V4,
    hops_exceeded=HOPS_EXCEEDED_V4,
    is_host=lambda v4: v4 >> 24 != 0 and v4 >> 29 != 7,  # not in 0/8 or 224/3
    above=0xFFFF << 32,
)
V6 = IpVersion(
    name="v6",
    is_v6=True,
    protocol=ICMPV6,
    echo=ECHO_V6,
    echo_reply=ECHO_REPLY_V6,
    errors=ERRORS_V6,
    read=read_v6,
    write=write_v6,
    message=lambda packet: read(packet.payload),  # the kernel has verified its checksum
    original=original_v6,
    translate=lambda error, about: to_v4(error),
    quoted=QUOTED_V6,
    no_route=NO_ROUTE_V6,
    prohibited=PROHIBITED_V6,
    hops_exceeded=HOPS_EXCEEDED_V6,
    is_host=lambda v6: v6 != 0 and v6 >> 120 != 0xFF,  # not :: and not multicast
    above=0,
)
