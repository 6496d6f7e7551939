"""Queries and replies for tests, written by dnspython."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from faith.dns.answer import Answer, from_reply
from faith.dns.question import Query, Question, parse


def name(text: str) -> bytes:
    """*text* on the wire."""
    return dns.name.from_text(text).to_wire() or b""


def question(owner: str, kind: str = "AAAA", klass: str = "IN", **bits: bool) -> Question:
    """*bits* are dnssec_ok and unchecked."""
    section = (
        name(owner)
        + dns.rdatatype.from_text(kind).to_bytes(2, "big")
        + dns.rdataclass.from_text(klass).to_bytes(2, "big")
    )
    return Question(section, **bits)


def query(owner: str, kind: str = "AAAA", flags: str = "RD", **edns: object) -> Query:
    """What we read in a query of dnspython's; *edns* as make_query has it."""
    return parse(query_wire(owner, kind, flags, **edns))


def query_wire(owner: str, kind: str = "AAAA", flags: str = "RD", **edns: object) -> bytes:
    message = dns.message.make_query(owner, kind, **edns)  # type: ignore[arg-type]
    message.flags = dns.flags.from_text(flags)
    return message.to_wire()


def reply_wire(
    owner: str,
    kind: str = "AAAA",
    *,
    answer: str = "",
    authority: str = "",
    additional: str = "",
    rcode: str = "NOERROR",
    flags: str = "QR RD RA",
    klass: str = "IN",
) -> bytes:
    """A reply, with the records of each section one a line as zone files have them."""
    message = dns.message.Message(id=4711)
    message.flags = dns.flags.from_text(flags)
    message.set_rcode(dns.rcode.from_text(rcode))
    message.question = [
        dns.rrset.RRset(
            dns.name.from_text(owner),
            dns.rdataclass.from_text(klass),
            dns.rdatatype.from_text(kind),
        )
    ]
    sections = (message.answer, message.authority, message.additional)
    for section, text in zip(sections, (answer, authority, additional), strict=True):
        for line in filter(None, map(str.strip, text.splitlines())):
            section.append(_record(line))
    return message.to_wire()


def _record(line: str) -> dns.rrset.RRset:
    owner, ttl, klass, kind, data = line.split(maxsplit=4)
    return dns.rrset.from_text(owner, int(ttl), klass, kind, data)


def reply(owner: str, kind: str = "AAAA", **parts: str) -> Answer:
    """What we read in such a reply."""
    return from_reply(reply_wire(owner, kind, **parts))


def read(wire: bytes) -> dns.message.Message:
    """What dnspython reads."""
    return dns.message.from_wire(wire)


def lines(answer: Answer) -> list[str]:
    """The records of an answer's answer section, one a line as `reply_wire` takes them."""
    return [text for rrset in read(answer.message).answer for text in rrset.to_text().splitlines()]
