"""Answers of our own, with no server asked: zones that exist nowhere else."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from faith.dns.answer import Answer
from faith.dns.wire import AA, HEADER, IN, NOERROR, QR, RA, SOA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.dns.question import Question

_RECORD = struct.Struct("!HHHIH")  # a name that is a pointer, type, class, TTL, length of the data
_SOA_NUMBERS = struct.Struct("!IIIII")
_POINTER = 0xC000
_NOBODY = b"\6nobody\7invalid\0"


def holds(apex: bytes, name: bytes) -> bool:
    """Return whether *name* is *apex* or a name below it, both on the wire and in lower case.

    The octets of a label may look like the end of a name that they are not.
    """
    if not name.endswith(apex):
        return False
    at = 0
    while len(name) - at > len(apex):
        at += name[at] + 1
    return len(name) - at == len(apex)


def answer(question: Question, data: Sequence[bytes], ttl: int, kind: int | None = None) -> Answer:
    """An answer with one record to each of *data*, of type *kind* or of the type asked for."""
    name = _POINTER | HEADER.size
    records = [
        _RECORD.pack(name, kind or question.kind, question.klass, ttl, len(octets)) + octets
        for octets in data
    ]
    return _answer(question, NOERROR, (len(data), 0, 0), b"".join(records))


def negative(question: Question, rcode: int, apex: bytes, ttl: int) -> Answer:
    """A "no", to be believed for *ttl* seconds.

    *apex* is the zone, on the wire, that *question*'s name lies in.  Its SOA record is made as
    RFC 6303 §3 makes them.
    """
    place = _POINTER | HEADER.size + len(question.name) - len(apex)
    server = struct.pack("!H", place)
    data = server + _NOBODY + _SOA_NUMBERS.pack(1, 3600, 1200, 604800, ttl)
    soa = _RECORD.pack(place, SOA, IN, ttl, len(data)) + data
    return _answer(question, rcode, (0, 1, 0), soa)


def _answer(question: Question, rcode: int, counts: tuple[int, int, int], records: bytes) -> Answer:
    head = HEADER.pack(0, QR | AA | RA | rcode, 1, *counts)
    return Answer(head + question.section + records, authoritative=True)
