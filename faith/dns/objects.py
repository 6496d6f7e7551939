"""Messages as dnspython's objects: at ease with all of them, and a hundred times as slow.

Octets in, octets out, so that nobody else needs to know.  Everything here raises WireError for
octets that dnspython makes nothing of.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from faith.dns.wire import IN, WireError
from faith.translation.address import from_packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Addresses = Callable[[int], Sequence[bytes]]
    """Gives the mapped addresses, in 16 octets each, of an IPv4 address."""

_A, _AAAA = dns.rdatatype.A, dns.rdatatype.AAAA


def without_edns(message: bytes) -> bytes:
    """*message* without its OPT record, wherever that is."""
    with _parsed(message) as reply:
        reply.use_edns(False)
        return _written(reply)


def synthesised(message: bytes, addresses: Addresses, ttl_limit: int) -> bytes:
    """The reply to an A query made one to an AAAA query (RFC 6147 §5.1.7, §5.4).

    All but the A records of the answer, and the signatures on them, stays what it is.
    """
    return _converted(message, _A, _AAAA, lambda given: _mapped(given, addresses, ttl_limit))


def lent(message: bytes, v4: bytes, ttl_limit: int) -> bytes:
    """The reply to an AAAA query made one to an A query, with *v4* for all of its addresses."""
    address = dns.rdata.from_wire(dns.rdataclass.IN, _A, v4, 0, len(v4))
    return _converted(
        message,
        _AAAA,
        _A,
        lambda given: dns.rrset.from_rdata(given.name, min(given.ttl, ttl_limit), address),
    )


def _converted(
    message: bytes,
    old: dns.rdatatype.RdataType,
    new: dns.rdatatype.RdataType,
    convert: Callable[[dns.rrset.RRset], dns.rrset.RRset],
) -> bytes:
    """The reply to a query of type *old* made one to *new*; sets that are empty then are left out.

    What had signatures has none any more, and nobody vouches for it.
    """
    with _parsed(message) as reply:
        reply.question = [dns.rrset.RRset(reply.question[0].name, dns.rdataclass.IN, new)]
        unsigned = _without_signatures(reply.answer, old)
        answer = [convert(given) if _is(given, old) else given for given in unsigned]
        reply.answer = [rrset for rrset in answer if rrset]
        reply.flags &= ~dns.flags.AD
        return _written(reply)


def _mapped(given: dns.rrset.RRset, addresses: Addresses, ttl_limit: int) -> dns.rrset.RRset:
    rrset = dns.rrset.RRset(given.name, dns.rdataclass.IN, _AAAA)
    for rdata in given:
        for octets in addresses(from_packed(rdata.to_wire() or b"")):
            mapped = dns.rdata.from_wire(dns.rdataclass.IN, _AAAA, octets, 0, len(octets))
            rrset.add(mapped, min(given.ttl, ttl_limit))
    return rrset


def without(message: bytes, kind: int, unwanted: Callable[[bytes], bool]) -> bytes:
    """*message* without those answers of type *kind* whose data is *unwanted*.

    Where some go, the signatures on all of them do.
    """
    with _parsed(message) as reply:
        answer = []
        found = False
        for rrset in reply.answer:
            if _is(rrset, kind):
                kept = [rdata for rdata in rrset if not unwanted(rdata.to_wire() or b"")]
                found = found or len(kept) < len(rrset)
                if kept:
                    answer.append(dns.rrset.from_rdata_list(rrset.name, rrset.ttl, kept))
            else:
                answer.append(rrset)
        if found:
            reply.answer = list(_without_signatures(answer, kind))
            reply.flags &= ~dns.flags.AD
        return _written(reply)


def related(message: bytes) -> bytes:
    """*message* with only those answers that its question, or a chain from there, leads to."""
    with _parsed(message) as reply:
        names = {reply.question[0].name}
        links = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.CNAME]
        for _ in links:
            names |= {rrset[0].target for rrset in links if rrset.name in names}
        reply.answer = [
            rrset
            for rrset in reply.answer
            if rrset.name in names
            or (
                dns.rdatatype.DNAME in (rrset.rdtype, rrset.covers)
                and any(name.is_subdomain(rrset.name) for name in names)
            )
        ]
        return _written(reply)


def data_of(message: bytes, kind: int) -> list[bytes]:
    """The data, with names written out, of all answers of type *kind* in *message*."""
    with _parsed(message) as reply:
        found = [rrset for rrset in reply.answer if _is(rrset, kind)]
        return [rdata.to_wire() or b"" for rrset in found for rdata in rrset]


def _is(rrset: dns.rrset.RRset, kind: int) -> bool:
    return (rrset.rdtype, rrset.rdclass) == (kind, IN)


def _without_signatures(section: Iterable[dns.rrset.RRset], kind: int) -> Iterator[dns.rrset.RRset]:
    return (rrset for rrset in section if rrset.covers != kind)


@contextmanager
def _parsed(message: bytes) -> Iterator[dns.message.Message]:
    """The message, with dnspython's errors translated, also those of writing it again."""
    try:
        yield dns.message.from_wire(message)
    except (dns.exception.DNSException, ValueError) as error:
        raise WireError(str(error)) from error


def _written(message: dns.message.Message) -> bytes:
    return message.to_wire(want_shuffle=False)
