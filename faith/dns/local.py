"""Names that are answered here, whatever the servers say of them, and with none of them asked.

Special-use names that a forwarder decides about, each by its RFC:

``ipv4only.arpa``
    RFC 8880 §7.1 item 4: see `ipv4only`.
``resolver.arpa``
    RFC 9462 §6.1, §6.4: no data.  What a server has there names encrypted resolvers of its own, and
    would lead clients past this one and its synthesis.
``localhost``
    RFC 6761 §6.3 item 4: the loopback addresses, no data for other types.
``invalid``
    RFC 6761 §6.4 item 4: no such name.
``onion``
    RFC 7686 §2 item 4: no such name, and the question must not leave.

Others are asked for, since a forwarder's servers are the site's own: ``test`` (RFC 6761 §6.2),
``local`` (RFC 6762 §22.1), ``home.arpa`` (RFC 8375 §4), names of private addresses (RFC 6761 §6.1),
and the example names, which are not special to servers (RFC 6761 §6.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.dns import ipv4only, reverse, zone
from faith.dns.wire import AAAA, ANY, IN, NOERROR, NXDOMAIN, A

if TYPE_CHECKING:
    from faith.dns.answer import Answer
    from faith.dns.options import Options, View
    from faith.dns.pool import Pool
    from faith.dns.question import Question

TTL = 10800
"""Seconds: these never change."""

_LOCALHOST = b"\x09localhost\0"
_NOWHERE = (b"\7invalid\0", b"\5onion\0")
_EMPTY = (b"\x08resolver\4arpa\0",)
_SPECIAL = (_LOCALHOST, *_NOWHERE, *_EMPTY)
_ENDINGS = (*_SPECIAL, ipv4only.NAME)
_LOOPBACK = {A: bytes((127, 0, 0, 1)), AAAA: bytes(15) + b"\1"}
_TOPS = (b"\4arpa\0", ipv4only.NAME, b"\7in-addr\4arpa\0")


def answer(question: Question, options: Options, view: View) -> Answer | None:
    """Return what a client of *view* is told without a look-up; None for a name of the servers'.

    A rule of the operator's for a special-use domain, or one in it, leaves that to the servers.
    """
    name = question.name
    if question.klass != IN or not name.endswith(_ENDINGS):
        return None
    if found := ipv4only.answer(question, view.prefixes):
        return found
    apex = next((apex for apex in _SPECIAL if zone.holds(apex, name)), None)
    if apex is None or options.has_rule(name, apex):
        return None
    if apex in _NOWHERE:
        return zone.negative(question, NXDOMAIN, apex, TTL)
    kind = AAAA if question.kind == ANY else question.kind
    if apex == _LOCALHOST and kind in _LOOPBACK and not (kind == A and view.filter_a):
        return zone.answer(question, [_LOOPBACK[kind]], TTL, kind)
    return zone.negative(question, NOERROR, apex, TTL)


def corrected(
    question: Question, options: Options, view: View, reply: Answer, pool: Pool | None = None
) -> Answer:
    """Return *reply*, or no data where a server denies a name that has data of ours.

    These are the name of RFC 7050, those of mapped addresses and of *pool*, and all above them: to
    who believes that a name does not exist, neither do those below it (RFC 8020).
    """
    if reply.rcode != NXDOMAIN or reply.is_ours or question.klass != IN:
        return reply
    name = question.name
    mapped = name in _TOPS or reverse.is_near(name, options.all_prefixes)
    v4 = None if pool is None else reverse.v4_address(name)
    if (view.prefixes and mapped) or (pool is not None and v4 is not None and v4 in pool):
        return zone.negative(question, NOERROR, name, reply.lifetime)
    return reply
