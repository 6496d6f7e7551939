"""Names of mapped addresses: PTR queries under the prefixes (RFC 6147 §5.3.1, RFC 8880 §7.2.1).

Of the RFC's two strategies this is the first, with "locally appropriate" data: the PTR record is
synthesised with the data that IN-ADDR.ARPA has for the IPv4 address.  A CNAME record to that name,
the second, would have to be left out where RFC 2317 has put a CNAME record already, which is
wherever less than a /24 was delegated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.dns import ipv4only, objects, zone
from faith.dns.answer import failure
from faith.dns.question import Question
from faith.dns.wire import ANY, IN, NOERROR, NXDOMAIN, PTR, TYPE_CLASS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.dns.answer import Answer
    from faith.translation.prefix import Prefix, Prefixes

IP6_ARPA = b"\3ip6\4arpa\0"
"""The domain of all reverse names of IPv6, on the wire (RFC 3596 §2.5)."""
_IN_ADDR_ARPA = b"\7in-addr\4arpa\0"
_NIBBLES = 32
_OCTETS = 4
_DECIMAL = frozenset(b"%d" % octet for octet in range(256))
_HEX = b"0123456789abcdef"


class Reverse:
    """A PTR query for the mapped address of *v4* under *prefix*."""

    __slots__ = ("_question", "prefix", "v4")

    def __init__(self, question: Question, prefix: Prefix, v4: int) -> None:
        self._question = question
        self.prefix = prefix
        self.v4 = v4

    def known(self) -> Answer | None:
        """The answer, if there is no need to ask for it (RFC 8880 §7.2.1)."""
        if self.v4 in ipv4only.ADDRESSES:
            return zone.answer(self._question, [ipv4only.NAME], ipv4only.TTL, PTR)
        return None

    def v4_question(self) -> Question:
        """The question to ask instead."""
        return Question(v4_name(self.v4) + TYPE_CLASS.pack(PTR, IN))

    def answer(self, reply: Answer) -> Answer:
        """The answer, by the *reply* to that question.  Raises WireError."""
        if reply.rcode not in (NOERROR, NXDOMAIN):
            return failure(self._question, reply.rcode)
        if data := objects.data_of(reply.message, PTR):
            return zone.answer(self._question, data, reply.lifetime, PTR)
        return zone.negative(self._question, reply.rcode, self._zone(), reply.lifetime)

    def _zone(self) -> bytes:
        """The zone of the prefix's own names: the longest that ends between two nibbles."""
        nibbles = self.prefix.length // 4
        return self._question.name[2 * (_NIBBLES - nibbles) :]


def of(question: Question, prefixes: Prefixes) -> Reverse | None:
    """Return the mapped name that *question* asks for, if it is for an address under *prefixes*.

    One for ANY is as good: of several sets of records it gets this one (RFC 8482 §4.1).
    """
    if question.kind not in (PTR, ANY) or question.klass != IN:
        return None
    v6 = address(question.name)
    prefix = None if v6 is None else prefixes.find(v6)
    if v6 is None or prefix is None:
        return None
    return Reverse(question, prefix, prefix.unmap(v6))


def address(name: bytes) -> int | None:
    """The IPv6 address with the reverse name *name*, which is in lower case (RFC 3596 §2.5)."""
    end = 2 * _NIBBLES
    nibbles = name[1:end:2]
    if name[end:] != IP6_ARPA or name[:end:2] != b"\1" * _NIBBLES or nibbles.strip(_HEX):
        return None
    return int(nibbles[::-1], 16)


def is_near(name: bytes, prefixes: Iterable[Prefix]) -> bool:
    """Return whether *name* is above or below the reverse zone of one of *prefixes*, or is it."""
    nibbles = name[1 : -len(IP6_ARPA) : 2]
    count = len(nibbles)
    if count > _NIBBLES or name != b"".join(b"\1%c" % nibble for nibble in nibbles) + IP6_ARPA:
        return False
    if nibbles.strip(_HEX):
        return False
    top = int(nibbles[::-1] or b"0", 16)
    bits = 4 * count
    return any(
        top >> bits - shared == prefix.address >> 128 - shared
        for prefix in prefixes
        for shared in (min(bits, prefix.length),)
    )


def v4_name(v4: int) -> bytes:
    """The reverse name of an IPv4 address (RFC 1035 §3.5)."""
    octets = [b"%d" % octet for octet in v4.to_bytes(4, "little")]
    return b"".join(bytes([len(octet)]) + octet for octet in octets) + _IN_ADDR_ARPA


def v4_address(name: bytes) -> int | None:
    """The IPv4 address with the reverse name *name*, which is in lower case."""
    labels: list[bytes] = []
    at = 0
    while name[at] and len(labels) < _OCTETS:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += name[at] + 1
    if name[at:] != _IN_ADDR_ARPA or not all(map(_DECIMAL.__contains__, labels)):
        return None
    return int.from_bytes(map(int, labels), "little")


def v6_question(v6: int) -> Question:
    """The PTR query for an IPv6 address."""
    nibbles = b"%032x" % v6
    name = b"".join(b"\1%c" % nibble for nibble in reversed(nibbles)) + IP6_ARPA
    return Question(name + TYPE_CLASS.pack(PTR, IN))
