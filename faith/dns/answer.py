"""Answers: what to tell whoever asks a question, and for how long it is true.

An answer is a reply without what belongs to one hop: id, EDNS (RFC 6891 §6.1.1), and the bits
that repeat the query's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from faith.dns import objects
from faith.dns.question import EDNS_LIMIT
from faith.dns.wire import (
    AA,
    AAAA,
    AD,
    ADDITIONAL,
    ANSWER,
    ANY,
    AUTHORITY,
    CD,
    CNAME,
    HEADER,
    IN,
    NOERROR,
    NXDOMAIN,
    OPT,
    QR,
    RA,
    RCODE,
    RD,
    SERVFAIL,
    SOA,
    TC,
    TSIG,
    TTL,
    TYPE_CLASS,
    A,
    WireError,
    last_pointer,
    pointer,
    question_end,
    records,
)

if TYPE_CHECKING:
    from faith.dns.question import Query, Question
    from faith.dns.wire import Record

TTL_LIMIT = 7 * 86400
"""Seconds that anything is kept at most (RFC 8767 §4)."""
NEGATIVE_LIMIT = 3 * 3600
"""Seconds that a "no" is kept at most (RFC 2308 §5)."""
FAILURE_LIFETIME = 5
"""Seconds until what failed is tried again (RFC 9520 §3.2)."""

_OCTETS = {A: 4, AAAA: 16}
_OPTION = struct.Struct("!HH")
_EXTENDED_ERROR = 15  # the option of RFC 8914
_BOGUS = frozenset((1, 2, *range(5, 13)))  # its codes for what DNSSEC does not vouch for

FILTERED, STALE, STALE_NXDOMAIN, NO_SERVER, SYNTHESISED = 17, 3, 19, 22, 29
"""Codes of extended errors that an answer carries (RFC 8914 §5.2, and IANA's registry)."""
_OPTION_CODE = struct.Struct("!HHH")

_POINTER_OCTETS = 2
_POINTED = _POINTER_OCTETS + 10  # octets of a record before its data, whose name is a pointer

_SECTION, _KIND = 0, 2  # places in a Record
_TTL_BEFORE_DATA = 6
_ADDITIONAL = 10  # the place of their number in a header
_ID = struct.Struct("!H")
_HEAD = struct.Struct("!HHHHH")  # the header without the id
_OPT = struct.Struct("!xHHIH")
_OPT_PLAIN = _OPT.pack(OPT, EDNS_LIMIT, 0, 0)
_DO = 0x8000
_OPT_DO = _OPT.pack(OPT, EDNS_LIMIT, _DO, 0)


class Answer:
    """A reply to a question, fit for every asker of it; *message* is without EDNS.

    *lifetime* is in seconds, 0 when it must not be kept; *negative_ttl* is how long the "no" in it
    may be believed (RFC 2308 §5), or None without a SOA record.  *bogus* tells whether DNSSEC was
    the reason of a failure, None for a server that did not say; *authoritative* that the answer is
    our own.  *error* is what it says of itself to who has EDNS, a code of RFC 8914.  TTLs are of
    TTL_LIMIT seconds at most.

    *base* is where the question ends and *found* are the records, for who has walked over them
    already.  Raises WireError for a *message* that is not a question and records.
    """

    __slots__ = (
        "_records",
        "additional",
        "answers",
        "authorities",
        "base",
        "bogus",
        "error",
        "flags",
        "lifetime",
        "message",
        "negative_ttl",
        "ttls",
    )

    def __init__(
        self,
        message: bytes,
        *,
        bogus: bool | None = False,
        authoritative: bool = False,
        error: int | None = None,
        found: list[Record] | None = None,
        base: int = 0,
    ) -> None:
        self.message = message
        self.base = base or question_end(message)
        self.bogus = bogus
        self.error = error
        _, flags, _, self.answers, self.authorities, self.additional = HEADER.unpack_from(message)
        self.flags: int = QR | RA | authoritative * AA | flags & (AD | RCODE)
        if found is None:
            found = records(message, self.base)
        self._records: list[Record] | None = found
        self.ttls: list[int] = []
        self.negative_ttl: int | None = None
        self.lifetime = self._lifetime(found)

    @property
    def rcode(self) -> int:
        """The response code."""
        return self.flags & RCODE

    @property
    def is_ours(self) -> bool:
        """True for an answer of this server's own, which no other was asked for."""
        return self.flags & AA != 0

    @property
    def kind(self) -> int:
        """The type that was asked for."""
        return int.from_bytes(self.message[self.base - 4 : self.base - 2], "big")

    def aged(self, age: int) -> Answer:
        """The same *age* seconds later."""
        octets = self.message[: self.base] + self.tail(age)
        return Answer(octets, bogus=self.bogus, authoritative=self.is_ours, error=self.error)

    def asked_for(self, kind: int) -> Answer:
        """The same records for a question of type *kind*, which nobody vouches for."""
        octets = bytearray(self.message)
        at = self.base - TYPE_CLASS.size
        octets[at : at + 2] = kind.to_bytes(2, "big")
        octets[3] &= ~AD
        found = Answer(bytes(octets), error=self.error)
        found.lifetime = min(found.lifetime, self.lifetime)
        return found

    def records(self) -> list[Record]:
        """The records of all sections, as offsets into *message*."""
        found = self._records
        return records(self.message, self.base) if found is None else found

    def forget_records(self) -> None:
        """Keep no offsets: an answer that is kept for long takes less without."""
        self._records = None

    def _lifetime(self, found: list[Record]) -> int:
        """Walk over the records once, for all that their number makes dear."""
        shortest = TTL_LIMIT
        is_positive = is_capped = False
        asked = self.kind
        ttls = self.ttls
        for section, _, kind, klass, ttl, data, end in found:
            ttls.append(data - _TTL_BEFORE_DATA)
            if ttl < shortest:
                shortest = ttl
            elif ttl > TTL_LIMIT:
                is_capped = True
            if kind in _OCTETS and end - data != _OCTETS[kind] and klass == IN:
                raise WireError(f"an address of {end - data} octets")
            if section == ANSWER:
                is_positive = is_positive or kind == asked or asked == ANY
            elif section == AUTHORITY and kind == SOA and self.negative_ttl is None:
                self.negative_ttl = min(ttl, _minimum(self.message, data, end))
        if is_capped:
            self.message = _capped(self.message, ttls)
            self._records = None
        rcode = self.flags & RCODE
        if rcode == SERVFAIL:
            return min(shortest, FAILURE_LIFETIME)
        if rcode == NOERROR and is_positive:
            return shortest
        if rcode in (NOERROR, NXDOMAIN) and self.negative_ttl is not None:
            return min(shortest, self.negative_ttl, NEGATIVE_LIMIT)
        return 0

    def tail(self, age: int, least: int = 0) -> bytes:
        """The records *age* seconds later, with TTLs of *least* or more."""
        if not age and not least:
            return self.message[self.base :]
        message, start = self.message, self.base
        parts: list[bytes] = []
        for at in self.ttls:
            ttl = int.from_bytes(message[at : at + TTL.size], "big")
            parts += (message[start:at], TTL.pack(max(ttl - age, least)))
            start = at + TTL.size
        parts.append(message[start:])
        return b"".join(parts)

    def reply(self, query: Query, tail: bytes, limit: int, error: int | None = None) -> bytes:
        """The message that answers *query*, with *tail* for its records.

        What does not go into *limit* octets goes without records, and with the TC bit: the client
        asks again by TCP.  *error* is said instead of the answer's own.
        """
        head, end = self.frame(query, error)
        if _ID.size + len(head) + len(tail) + len(end) > limit:
            flags = int.from_bytes(head[:2], "big") | TC
            counts = _HEAD.pack(flags, 1, 0, 0, query.edns)
            return b"".join((_ID.pack(query.id), counts, query.question.section, end))
        return b"".join((_ID.pack(query.id), head, tail, end))

    def frame(self, query: Query, error: int | None = None) -> tuple[bytes, bytes]:
        """Return the octets of the reply to *query* between id and records, and behind these."""
        flags = self.flags | query.flags & (RD | CD)
        question = query.question
        if not (question.dnssec_ok or query.flags & AD):
            flags &= ~AD  # RFC 6840 §5.8
        counts = self.answers, self.authorities, self.additional + query.edns
        head = _HEAD.pack(flags, 1, *counts) + question.section
        if not query.edns:
            return head, b""
        error = self.error if error is None else error
        if error is None:
            return head, _OPT_DO if question.dnssec_ok else _OPT_PLAIN
        option = _OPTION_CODE.pack(_EXTENDED_ERROR, 2, error)
        return head, _OPT.pack(OPT, EDNS_LIMIT, question.dnssec_ok * _DO, len(option)) + option


def from_reply(message: bytes, base: int = 0) -> Answer:
    """The answer in a server's reply; a response code beyond the header's four bits is SERVFAIL.

    What is neither yes nor no has no records, answers that the question does not lead to are left
    out, and what is behind the last record is nothing.  *base* is where the question ends, for who
    knows.  Raises WireError.
    """
    base = base or question_end(message)
    found = records(message, base)
    end = found[-1].end if found else base
    if end != len(message):
        message = message[:end]
    if found and found[-1].kind == TSIG:  # nobody asked for a signature, or could check it
        message = _without_last(message, found.pop())
    edns = [each for each in found if each[_KIND] == OPT]
    if len(edns) > 1 or (edns and edns[0].section != ADDITIONAL):
        raise WireError("EDNS twice, or in another place than its own")
    plain = _without(message, edns[0]) if edns else message
    rcode = plain[3] & RCODE
    if rcode in (NOERROR, NXDOMAIN):
        if not _is_chain(message, found):
            return Answer(objects.related(plain))
        if edns and edns[0] is not found[-1]:  # what followed it has moved
            return Answer(plain, base=base)
        return Answer(plain, found=found[: len(found) - len(edns)], base=base)
    failed = HEADER.pack(0, int.from_bytes(plain[2:4], "big"), 1, 0, 0, 0) + plain[12:base]
    reasons = _extended_errors(message[edns[0].data : edns[0].end]) if edns else []
    if rcode != SERVFAIL or not reasons:
        return Answer(failed, bogus=None if rcode == SERVFAIL else False)
    return Answer(failed, bogus=not _BOGUS.isdisjoint(reasons), error=reasons[0])


def _is_chain(message: bytes, found: list[Record]) -> bool:
    """Return whether all answers are of the question's name or of where those before them lead.

    Only what is written as servers do, with pointers, is looked at; anything else is not known.
    """
    places = {HEADER.size}
    for section, start, kind, _, _, data, end in found:
        if section != ANSWER:
            break
        if data - start != _POINTED or pointer(message, start) not in places:
            return False
        if kind == CNAME:
            places.add(data)
            if end - data == _POINTER_OCTETS:
                places.add(last_pointer(message, data))
    return True


def _without_last(message: bytes, record: Record) -> bytes:
    """*message* without *record*, the last of its additional ones."""
    if record.section != ADDITIONAL:
        raise WireError("a signature in another place than its own")
    (additional,) = _ID.unpack_from(message, _ADDITIONAL)
    counts = message[:_ADDITIONAL] + _ID.pack(additional - 1)
    return counts + message[HEADER.size : record.start]


def _without(message: bytes, opt: Record) -> bytes:
    if opt.end == len(message):
        plain = _without_last(message, opt)
    else:  # what follows it may point past it
        plain = objects.without_edns(message)
    if opt.ttl >> 24:
        plain = plain[:3] + bytes([plain[3] & ~RCODE | SERVFAIL]) + plain[4:]
    return plain


def failure(question: Question, rcode: int = SERVFAIL) -> Answer:
    """An answer without records."""
    return Answer(HEADER.pack(0, QR | RA | rcode, 1, 0, 0, 0) + question.section)


def _capped(message: bytes, ttls: list[int]) -> bytes:
    octets = bytearray(message)
    for at in ttls:
        (ttl,) = TTL.unpack_from(octets, at)
        TTL.pack_into(octets, at, min(ttl, TTL_LIMIT))
    return bytes(octets)


def _minimum(message: bytes, data: int, end: int) -> int:
    """The last field of the SOA record whose data is there (RFC 2308 §5).  Raises WireError."""
    if end - data < TTL.size:
        raise WireError("a SOA record is cut short")
    minimum: int = TTL.unpack_from(message, end - TTL.size)[0]
    return minimum


def _extended_errors(options: bytes) -> list[int]:
    """The codes of RFC 8914 among the *options* of EDNS."""
    found = []
    at = 0
    while at + _OPTION.size <= len(options):
        code, length = _OPTION.unpack_from(options, at)
        at += _OPTION.size
        if code == _EXTENDED_ERROR and at + 2 <= len(options):
            found.append(int.from_bytes(options[at : at + 2], "big"))
        at += length
    return found
