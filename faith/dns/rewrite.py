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
    IN,
    MESSAGE_LIMIT,
    NS,
    SOA,
    TYPE_CLASS,
    A,
    Record,
    WireError,
    name_end,
    pointer,
)
from faith.translation.address import from_packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.dns.objects import Addresses

_MAPPED = struct.Struct("!HHIH16s")
_HEAD = _MAPPED.size - 16  # what stands between a record's name and its data
_KNOWN = frozenset((A, AAAA, CNAME, NS, SOA))
"""The types that may follow a replaced record: it is known what names are in their data."""
_POINTER, _POINTER_LIMIT = 0xC000, 0x4000


class _Intricate(Exception):
    """A name goes on where nothing will be."""


def to_aaaa(answer: Answer, addresses: Addresses, ttl_limit: int) -> Answer:
    """*answer* to an A query as one to an AAAA query, with TTLs of *ttl_limit* at most.

    Raises WireError.
    """
    found = answer.records()
    first = len(found)
    is_known = True
    for number, record in enumerate(found):
        if first > number and _is_replaced(record):
            first = number
        if record.kind not in _KNOWN and (number >= first or record.section == ANSWER):
            is_known = False
    if is_known:
        try:
            return _Rewriting(answer, found, first).done(addresses, ttl_limit)
        except _Intricate:
            pass
    return Answer(objects.synthesised(answer.message, addresses, ttl_limit))


def _is_replaced(record: Record) -> bool:
    return record.kind == A and record.section == ANSWER and record.klass == IN


class _Rewriting:
    """The octets of *answer* up to the *first* record to be replaced, and then one after the other.

    Names may go on in what moves by that: then their pointers move, too.  (There are no signatures,
    nor types whose data may have names that we do not know of.)
    """

    def __init__(self, answer: Answer, found: list[Record], first: int) -> None:
        self._message = message = answer.message
        self._base = answer.base
        self._found = found[:first]
        self._others = found[first:]
        self._moved = self._others[0].start if self._others else len(message)
        self._octets = bytearray(message[: self._moved])
        # Where records were that moved: start, end of what others may go on in, and how far.
        self._places: list[tuple[int, int, int]] = []

    def done(self, addresses: Addresses, ttl_limit: int) -> Answer:
        """The answer to the AAAA query.  Raises _Intricate, and WireError."""
        octets = self._octets
        for record in self._others:
            if _is_replaced(record):
                self._replace(record, addresses, ttl_limit)
            else:
                self._move(record)
        if len(octets) > MESSAGE_LIMIT:
            raise WireError("with mapped addresses it is longer than a message can be")
        TYPE_CLASS.pack_into(octets, self._base - TYPE_CLASS.size, AAAA, IN)
        octets[3] &= ~AD
        answers = [record[0] for record in self._found].count(ANSWER)
        octets[6:8] = answers.to_bytes(2, "big")
        return Answer(bytes(octets), found=self._found, base=self._base)

    def _replace(self, record: Record, addresses: Addresses, ttl_limit: int) -> None:
        message, octets = self._message, self._octets
        section, start, _, _, ttl, data, end = record
        at = len(octets)
        owner_end = data - _HEAD
        mapped = addresses(from_packed(message[data:end]))
        self._places.append((start, owner_end if mapped else start, at - start))
        ttl = min(ttl, ttl_limit)
        owner = message[start:owner_end]
        if len(owner) > 2 or pointer(message, start) >= self._moved:
            whole = bytearray(owner)
            self._redirect(whole, 0, start)
            owner = bytes(whole)
        for address in mapped:
            at = len(octets)
            octets += owner
            octets += _MAPPED.pack(AAAA, IN, ttl, len(address), address)
            there = at + len(owner) + _HEAD
            record = Record._make((section, at, AAAA, IN, ttl, there, len(octets)))
            self._found.append(record)

    def _move(self, record: Record) -> None:
        message, octets = self._message, self._octets
        section, start, kind, klass, ttl, data, end = record
        shift = len(octets) - start
        self._places.append((start, end, shift))
        octets += message[start:end]
        for name in _names(message, record):
            self._redirect(octets, name + shift, name)
        self._found.append(
            Record(section, start + shift, kind, klass, ttl, data + shift, end + shift)
        )

    def _redirect(self, octets: bytearray, at: int, name: int) -> None:
        """Let the name at *name*, which is copied to *octets* at *at*, go on where it should."""
        message = self._message
        place = name
        while (length := message[place]) and length < _POINTER >> 8:
            place += length + 1
        if not length or (target := pointer(message, place)) < self._moved:
            return
        for start, end, shift in reversed(self._places):
            if target >= start:
                if target >= end or target + shift >= _POINTER_LIMIT:
                    break
                moved = _POINTER | target + shift
                place += at - name
                octets[place : place + 2] = moved.to_bytes(2, "big")
                return
        raise _Intricate


def _names(message: bytes, record: Record) -> Iterator[int]:
    """The offsets of the names in a record of a known type."""
    yield record.start
    if record.kind in (CNAME, NS, SOA):
        yield record.data
    if record.kind == SOA:
        yield name_end(message, record.data)
