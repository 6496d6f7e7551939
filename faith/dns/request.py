"""Requests to a server: a question as a message, and which reply answers it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Protocol

from faith.dns.question import EDNS_LIMIT
from faith.dns.wire import (
    AD,
    CD,
    FORMERR,
    HEADER,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    OPCODE,
    OPT,
    QR,
    RCODE,
    RD,
    TYPE_CLASS,
)

if TYPE_CHECKING:
    from faith.dns.question import Question

NOT_UNDERSTOOD = (FORMERR, NOTIMP)
"""The codes of a reply to what was not understood, as EDNS may not be (RFC 6891 §7)."""

_REPLY = QR >> 8
_REPLY_MASK = (QR | OPCODE) >> 8
_OPT = struct.Struct("!xHHIH")
_DO = 0x8000
_OPTS = {do: _OPT.pack(OPT, EDNS_LIMIT, do * _DO, 0) for do in (False, True)}
# AD asks for that bit in the reply, also without DO (RFC 6840 §5.7).  CD is the client's: with CD
# of our own, what is bogus would come as if it were good.
_HEADS = {
    (cd, edns): HEADER.pack(0, RD | AD | cd * CD, 1, 0, 0, edns)[2:]
    for cd in (False, True)
    for edns in (False, True)
}


class Request:
    """A message that asks *question*, but for its id, with *edns* or without.

    *mixed_case* makes upper case of some letters, which only the true reply repeats.
    """

    __slots__ = ("edns", "mixed_case", "octets", "section")

    def __init__(self, question: Question, *, edns: bool = True, mixed_case: bool = False) -> None:
        self.edns = edns
        self.mixed_case = mixed_case
        section = self.section = mixed(question.section) if mixed_case else question.section
        self.octets = _HEADS[question.unchecked, edns] + section
        """The message behind its id."""
        if edns:
            self.octets += _OPTS[question.dnssec_ok]

    def message(self, id_: int) -> bytes:
        """The message with that id."""
        return id_.to_bytes(2, "big") + self.octets

    def is_answered_by(self, reply: bytes) -> bool:
        """Return whether *reply*, which has the id, is one and repeats the question.

        Upper and lower case of the name do not count, see `repeats_case`.  An error may come
        without the question: who sends it has not read that far.
        """
        if len(reply) < HEADER.size or reply[2] & _REPLY_MASK != _REPLY:
            return False
        own = self.section
        end = HEADER.size + len(own)
        if reply[4:6] == b"\0\1":
            section = reply[HEADER.size : end]
            return section == own or (
                section[: -TYPE_CLASS.size].lower() == own[: -TYPE_CLASS.size].lower()
                and section[-TYPE_CLASS.size :] == own[-TYPE_CLASS.size :]
            )
        return reply[4:6] == b"\0\0" and reply[3] & RCODE not in (NOERROR, NXDOMAIN)

    def repeats_case(self, reply: bytes) -> bool:
        """Return whether *reply*, which answers this, has the name in the same letters."""
        return self.section == reply[HEADER.size : HEADER.size + len(self.section)]


class Asking(Protocol):
    """A request on its way: *where* it waits for the reply, under which *id*."""

    request: Request
    where: Place | None
    id: int

    def received(self, reply: bytes) -> None:
        """Conclude by *reply*, which answers the request; or ask in another way."""

    def failed(self, error: OSError) -> None:
        """Conclude by *error*; or ask in another way."""

    def may_repeat(self) -> bool:
        """Return whether to ask again on another connection."""


class Place(Protocol):
    """A socket where a request waits for its reply, or to be sent."""

    def give_up(self, asking: Asking) -> None:
        """Do without the reply."""


def has_question(reply: bytes) -> bool:
    """Return whether *reply* has any question."""
    return reply[4:6] != b"\0\0"


def mixed(section: bytes) -> bytes:
    """Return *section* with the case of its name's letters at random.

    The octets of lengths, type and class are left as they are: no length looks like a letter.
    """
    chance = int.from_bytes(os.urandom(32), "big")
    name = bytes(
        octet ^ 0x20 if chance >> place & 1 and (octet | 0x20) in range(0x61, 0x7B) else octet
        for place, octet in enumerate(section[: -TYPE_CLASS.size])
    )
    return name + section[-TYPE_CLASS.size :]


class Dice:
    """Random numbers that nobody guesses, read from the system so many at a time."""

    __slots__ = ("_at", "_octets")

    _SIZE = 512

    def __init__(self) -> None:
        self._octets = b""
        self._at = self._SIZE

    def number(self) -> int:
        """Return a number of 16 bits."""
        at = self._at
        if at >= self._SIZE:
            self._octets = os.urandom(self._SIZE)
            at = 0
        self._at = at + 2
        return self._octets[at] << 8 | self._octets[at + 1]
