"""The name by which hosts discover the prefix: ``ipv4only.arpa`` (RFC 8880 §7.1, RFC 7050)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.dns import zone
from faith.dns.wire import AAAA, DS, IN, NOERROR, NXDOMAIN, A
from faith.translation.address import packed4, packed6

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.dns.answer import Answer
    from faith.dns.question import Question
    from faith.translation.prefix import Prefix

NAME = b"\x08ipv4only\x04arpa\0"
ADDRESSES = (0xC00000AA, 0xC00000AB)
"""192.0.0.170 and 192.0.0.171 (RFC 7050 §8.2)."""
TTL = 600
"""Seconds: hosts look again for a changed prefix when it ends (RFC 7050 §3)."""


def answer(question: Question, prefixes: Sequence[Prefix]) -> Answer | None:
    """The answer for clients that get *prefixes*; None for a question to ask a server.

    It is for a server where there are no prefixes: then another DNS64 may be behind it.
    """
    name = question.name
    if not prefixes or question.klass != IN or not zone.holds(NAME, name):
        return None
    if name != NAME:
        return zone.negative(question, NXDOMAIN, NAME, TTL)
    if question.kind == DS:
        return None
    if question.kind == A:
        return zone.answer(question, list(map(packed4, ADDRESSES)), TTL)
    if question.kind == AAAA:
        mapped = [packed6(prefix.map(v4)) for prefix in prefixes for v4 in ADDRESSES]
        return zone.answer(question, mapped, TTL)
    return zone.negative(question, NOERROR, NAME, TTL)
