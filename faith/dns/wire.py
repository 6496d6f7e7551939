"""DNS messages as they travel (RFC 1035 §4): walked over, not taken apart.

What most messages need (a question read, a lifetime found, an address replaced) takes a few
microseconds on the octets and a hundred times as long on objects.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from faith.errors import FaithError

HEADER = struct.Struct("!HHHHHH")
"""Id, flags, and the numbers of questions, answers, authorities and additional records."""
TYPE_CLASS = struct.Struct("!HH")
TTL = struct.Struct("!I")
_COUNTS = struct.Struct("!HHH")  # of records, in the header
_FIXED = struct.Struct("!HHIH")  # type, class, TTL and length of the data, behind a record's name

# The flags of a header (RFC 1035 §4.1.1, RFC 4035 §3.1.6, §3.2).
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE, RCODE = 0x7800, 0x000F

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16

A, NS, CNAME, SOA, PTR, AAAA, DNAME, OPT, DS, RRSIG = 1, 2, 5, 6, 12, 28, 39, 41, 43, 46
TSIG, IXFR, AXFR, ANY = 250, 251, 252, 255
META = range(128, 255)
"""Types that no name has records of (RFC 6895 §3.1); ANY is one that may be asked for."""
IN = 1

ANSWER, AUTHORITY, ADDITIONAL = range(3)

NAME_LIMIT = 255
"""Octets of a name (RFC 1035 §2.3.4)."""
MESSAGE_LIMIT = 65535

_POINTER = 0xC0


class WireError(FaithError):
    """Octets that are no DNS message, or none that can be used."""


def name_on_wire(name: str) -> bytes:
    """Return the octets of *name* (RFC 1035 §3.1), which may have a dot at its end.

    Raises WireError for what is no name.
    """
    try:
        labels = name.encode("ascii").removesuffix(b".").split(b".") if name != "." else []
    except UnicodeEncodeError:
        raise WireError(f"{name!r} is not in ASCII") from None
    if not all(0 < len(label) < 64 for label in labels):
        raise WireError(f"{name!r} has a label without octets, or with more than 63")
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > NAME_LIMIT:
        raise WireError(f"{name!r} has more than {NAME_LIMIT} octets")
    return wire


class Record(NamedTuple):
    """Where a record lies in its message: offsets of its name, its data and its end."""

    section: int
    start: int
    kind: int
    klass: int
    ttl: int
    data: int
    end: int

    @property
    def ttl_at(self) -> int:
        """The offset of its TTL."""
        return self.data - 6


def name_end(message: bytes, at: int) -> int:
    """The offset behind the name at *at*, which may end in a pointer to an earlier place.

    Raises WireError.
    """
    start = at
    try:
        while length := message[at]:
            if length >= _POINTER:
                if not HEADER.size <= pointer(message, at) < start:
                    raise WireError("a name points where no name can be")
                return at + 2
            if length > 63:
                raise WireError("a label of an unknown kind")
            at += length + 1
    except IndexError:
        raise WireError("a name runs over the end") from None
    return at + 1


def pointer(message: bytes, at: int) -> int:
    """The offset that the compression pointer at *at* leads to (RFC 1035 §4.1.4)."""
    return (message[at] << 8 | message[at + 1]) & 0x3FFF


def last_pointer(message: bytes, at: int) -> int:
    """The offset that the name at *at* continues at, or 0 when it is written out."""
    end = name_end(message, at)
    return pointer(message, end - 2) if end - at >= 2 and message[end - 2] >= _POINTER else 0


def question_end(message: bytes) -> int:
    """The offset behind the only question of *message*.  Raises WireError."""
    if len(message) < HEADER.size or HEADER.unpack_from(message)[2] != 1:
        raise WireError("not one question")
    end = name_end(message, HEADER.size) + TYPE_CLASS.size
    if end > len(message):
        raise WireError("the question is cut short")
    return end


def records(message: bytes, at: int) -> list[Record]:
    """The records of *message*, which begin at *at*; what follows the last one is nothing.

    Raises WireError.
    """
    found = []
    size = len(message)
    for section, count in enumerate(_COUNTS.unpack_from(message, 6)):
        for _ in range(count):
            # A name that is a pointer, as most are, needs no walk.
            if at + 1 < size and message[at] >= _POINTER:
                end = at + 2
                if not HEADER.size <= pointer(message, at) < at:
                    raise WireError("a name points where no name can be")
            else:
                end = name_end(message, at)
            data = end + _FIXED.size
            if data > size:
                raise WireError("a record is cut short")
            kind, klass, ttl, length = _FIXED.unpack_from(message, end)
            if data + length > size:
                raise WireError("the data of a record is cut short")
            found.append(_make(Record, (section, at, kind, klass, ttl, data, data + length)))
            at = data + length
    return found


_make = tuple.__new__
