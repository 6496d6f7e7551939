"""A reply to an A query made one to an AAAA query, on the octets (RFC 6147 §5.1.7, §5.4)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from faith.dns import objects
from faith.dns.answer import Answer
from faith.dns.wire import (
    AAAA,
    AD,
    ANSWER,
    CNAME,
    HEADER,
    IN,
    MESSAGE_LIMIT,
    NS,
    SOA,
    TYPE_CLASS,
    A,
    WireError,
    last_pointer,
    name_end,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.dns.objects import Addresses
    from faith.dns.wire import Record

_MAPPED = struct.Struct("!HHIH16s")
_KNOWN = frozenset((A, AAAA, CNAME, NS, SOA))
"""The types that may follow a replaced record: it is known what names are in their data."""


def to_aaaa(answer: Answer, addresses: Addresses, ttl_limit: int) -> Answer:
    """*answer* to an A query as one to an AAAA query, with TTLs of *ttl_limit* at most.

    Raises WireError.
    """
    found = list(answer.records())
    if _is_plain(answer.message, found):
        return Answer(_replaced(answer, found, addresses, ttl_limit))
    return Answer(objects.synthesised(answer.message, addresses, ttl_limit))


def _is_plain(message: bytes, found: list[Record]) -> bool:
    """Whether the A records can grow or go: no name continues in what changes by that.

    Nor may there be signatures.
    """
    first = next((n for n, record in enumerate(found) if _is_replaced(record)), len(found))
    # Its own name may go as well: there may be no address for it.
    moved = found[first].start if first < len(found) else len(message)
    return all(record.kind in _KNOWN or record.section != ANSWER for record in found) and all(
        record.kind in _KNOWN
        and all(last_pointer(message, name) < moved for name in _names(message, record))
        for record in found[first:]
    )


def _names(message: bytes, record: Record) -> Iterator[int]:
    """The offsets of the names in a record of a known type."""
    yield record.start
    if record.kind in (CNAME, NS, SOA):
        yield record.data
    if record.kind == SOA:
        yield name_end(message, record.data)


def _is_replaced(record: Record) -> bool:
    return (record.section, record.kind, record.klass) == (ANSWER, A, IN)


def _replaced(answer: Answer, found: list[Record], addresses: Addresses, ttl_limit: int) -> bytes:
    message = answer.message
    octets = bytearray(message[: answer.base - TYPE_CLASS.size] + TYPE_CLASS.pack(AAAA, IN))
    answers = answer.answers
    for record in found:
        if not _is_replaced(record):
            octets += message[record.start : record.end]
            continue
        owner = message[record.start : name_end(message, record.start)]
        mapped = addresses(int.from_bytes(message[record.data : record.end], "big"))
        answers += len(mapped) - 1
        for address in mapped:
            octets += owner
            octets += _MAPPED.pack(AAAA, IN, min(record.ttl, ttl_limit), len(address), address)
    if len(octets) > MESSAGE_LIMIT:
        raise WireError("with mapped addresses it is longer than a message can be")
    id_, flags, questions, _, *counts = HEADER.unpack_from(message)
    HEADER.pack_into(octets, 0, id_, flags & ~AD, questions, answers, *counts)
    return bytes(octets)
