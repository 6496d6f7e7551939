"""Questions of clients: a query's question, flags and EDNS (RFC 1035 §4.1, RFC 6891)."""

from __future__ import annotations

import struct

from faith.dns.wire import (
    AXFR,
    BADVERS,
    CD,
    FORMERR,
    HEADER,
    IXFR,
    META,
    NAME_LIMIT,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    REFUSED,
    TYPE_CLASS,
    WireError,
    name_end,
    records,
)

PLAIN_LIMIT = 512
"""Octets of a UDP message to who says nothing of EDNS (RFC 1035 §4.2.1)."""
EDNS_LIMIT = 1232
"""Octets of a UDP message that we send at most, and ask for: it is never fragmented."""

_DO = 0x8000
_OPT = struct.Struct("!BHHBBHH")  # name, type, size, rcode, version, flags, length
_OPT_HEAD = b"\0\0\x29"


class Rejected(WireError):
    """A query that is answered with *rcode* and nothing else."""

    def __init__(self, rcode: int, reason: str) -> None:
        super().__init__(reason)
        self.rcode = rcode


class Question:
    """A name (as on the wire, in the asker's upper and lower case), a type and a class.

    *dnssec_ok* and *unchecked* are the asker's DO and CD bits: they change the answer.
    """

    __slots__ = ("dnssec_ok", "key", "kind", "klass", "section", "unchecked")

    def __init__(self, section: bytes, *, dnssec_ok: bool = False, unchecked: bool = False) -> None:
        self.section = section
        """The question section of a message, in octets."""
        self.kind, self.klass = TYPE_CLASS.unpack_from(section, len(section) - 4)
        self.dnssec_ok = dnssec_ok
        self.unchecked = unchecked
        # Only the name is in either case; a type or class may contain the octet of a letter.
        self.key = section[:-4].lower() + section[-4:] + _BITS[dnssec_ok, unchecked]
        """The same for all questions with the same answer."""

    @property
    def name(self) -> bytes:
        """The name on the wire, in lower case."""
        return self.section[:-4].lower()

    @property
    def name_key(self) -> bytes:
        """A key that all types of the name have in common, and no type has.

        A name on the wire begins with the length of a label, which is less than 0xFF.
        """
        key = self.key
        return b"\xff" + key[:-5] + key[-3:]

    def of_type(self, kind: int) -> Question:
        """The question for another type of the same name."""
        section = self.section[:-4] + TYPE_CLASS.pack(kind, self.klass)
        return Question(section, dnssec_ok=self.dnssec_ok, unchecked=self.unchecked)


_BITS = {(do, cd): bytes([do << 1 | cd]) for do in (False, True) for cd in (False, True)}


class Query:
    """A question that came, with what else its message says.

    *edns* tells whether it had EDNS; *size* is the largest UDP message that may be sent back.
    """

    __slots__ = ("edns", "flags", "id", "question", "size")

    def __init__(self, id_: int, flags: int, question: Question, *, edns: bool, size: int) -> None:
        self.id = id_
        self.flags = flags
        self.question = question
        self.edns = edns
        self.size = size


def parse(message: bytes) -> Query:
    """Read a query; octets behind what it consists of are nothing.

    Raises Rejected for one that deserves an error, and plain WireError for what must not be
    answered at all: too short for a header, or a reply.
    """
    if len(message) < HEADER.size:
        raise WireError("shorter than a header")
    id_, flags, questions, answers, authorities, additional = HEADER.unpack_from(message)
    if flags & QR:
        raise WireError("a reply")
    if flags & OPCODE:
        raise Rejected(NOTIMP, "not a standard query")
    if questions != 1 or answers or authorities:
        raise Rejected(FORMERR, "not one question alone")
    try:
        end = name_end(message, HEADER.size) + TYPE_CLASS.size
        edns = _edns(message, end) if additional else None
    except Rejected:
        raise
    except WireError as error:
        raise Rejected(FORMERR, str(error)) from None
    if end - TYPE_CLASS.size - HEADER.size > NAME_LIMIT:
        raise Rejected(FORMERR, "a name of more than 255 octets")
    if end > len(message):
        raise Rejected(FORMERR, "the question is cut short")
    size, dnssec_ok = edns or (PLAIN_LIMIT, False)
    question = Question(message[HEADER.size : end], dnssec_ok=dnssec_ok, unchecked=flags & CD != 0)
    if question.kind in (AXFR, IXFR):
        raise Rejected(REFUSED, "not a type to ask a forwarder for")
    if question.kind in META or question.kind == OPT:
        raise Rejected(FORMERR, "not a type that a name has records of")
    return Query(id_, flags, question, edns=edns is not None, size=size)


def _edns(message: bytes, at: int) -> tuple[int, bool] | None:
    """The size and the DO bit of the OPT record among those from *at* on (RFC 6891 §6.1.2)."""
    if message[at : at + 3] == _OPT_HEAD and len(message) - at >= _OPT.size:
        _, _, size, _, version, flags, length = _OPT.unpack_from(message, at)
        if not version and at + _OPT.size + length == len(message) and message[11] == 1:
            return min(max(size, PLAIN_LIMIT), EDNS_LIMIT), flags & _DO != 0
    found = None
    for record in records(message, at):
        if record.kind != OPT:
            continue
        if found or message[record.start]:
            raise WireError("EDNS twice, or with a name")
        if record.ttl >> 16 & 0xFF:
            raise Rejected(BADVERS, "an unknown version of EDNS")
        size = min(max(record.klass, PLAIN_LIMIT), EDNS_LIMIT)
        found = size, record.ttl & _DO != 0
    return found
