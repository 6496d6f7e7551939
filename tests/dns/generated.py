"""Messages that Hypothesis thinks up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

labels = st.sampled_from((b"www", b"WwW", b"example", b"a", b"x" * 63, b"\0\xc0", b"arpa", b"cdn"))
names = st.lists(labels, min_size=1, max_size=3).map(lambda found: dns.name.Name([*found, b""]))
"""Few labels, so that names have ends in common and are compressed."""
ttls = st.sampled_from((0, 1, 5, 59, 300, 601, 86400, 604800, 2**31 - 1))

_DATA: dict[str, SearchStrategy[str]] = {
    "A": st.sampled_from(("192.0.2.1", "192.0.2.2", "10.0.0.1", "127.0.0.1", "198.51.100.7")),
    "AAAA": st.sampled_from(("2001:db8::1", "::ffff:192.0.2.1", "2001:db8:ffff::c000:201")),
    "CNAME": names.map(dns.name.Name.to_text),
    "DNAME": names.map(dns.name.Name.to_text),
    "NS": names.map(dns.name.Name.to_text),
    "PTR": names.map(dns.name.Name.to_text),
    "MX": names.map(lambda name: f"10 {name}"),
    "TXT": st.just('"v=spf1 -all"'),
    "SOA": st.builds(
        "{} {} 1 3600 1200 604800 {}".format, names, names, st.sampled_from((0, 30, 300, 900))
    ),
    "RRSIG": st.builds(
        "{} 13 2 300 20300101000000 20200101000000 1 example. AAAA".format,
        st.sampled_from(("A", "AAAA", "CNAME")),
    ),
}


@st.composite
def rrsets(draw: DrawFn, kinds: tuple[str, ...]) -> dns.rrset.RRset:
    """Records of one owner and type."""
    kind = draw(st.sampled_from(kinds))
    single = kind in ("CNAME", "DNAME", "SOA", "RRSIG")
    texts = draw(st.lists(_DATA[kind], min_size=1, max_size=1 if single else 3, unique=True))
    return dns.rrset.from_text_list(draw(names), draw(ttls), "IN", kind, texts)


def sections(*kinds: str) -> SearchStrategy[list[dns.rrset.RRset]]:
    """Records of these types, of no owner and type twice."""
    return st.lists(
        rrsets(kinds),
        max_size=4,
        unique_by=lambda rrset: (rrset.name, rrset.rdtype, rrset.covers),
    )


@st.composite
def replies(draw: DrawFn, kind: str = "A") -> dns.message.Message:
    """Replies to a query of type *kind*, plausible or not."""
    message = dns.message.QueryMessage(id=draw(st.integers(0, 65535)))
    message.flags = dns.flags.from_text("QR RD RA") | draw(
        st.sampled_from((0, dns.flags.AD, dns.flags.AA, dns.flags.CD))
    )
    message.set_rcode(dns.rcode.Rcode(draw(st.sampled_from((0, 0, 0, 2, 3, 5)))))
    owner = draw(names)
    message.question = [dns.rrset.RRset(owner, dns.rdataclass.IN, dns.rdatatype.from_text(kind))]
    message.answer = draw(sections("A", "A", "AAAA", "CNAME", "DNAME", "RRSIG", "TXT"))
    message.authority = draw(sections("NS", "SOA", "RRSIG"))
    message.additional = draw(sections("A", "AAAA", "MX"))
    if draw(st.booleans()):
        message.use_edns(0, draw(st.sampled_from((0, dns.flags.DO))), 1232)
    return message


def reply_wires(kind: str = "A") -> SearchStrategy[bytes]:
    """The same on the wire."""
    return replies(kind).map(lambda message: message.to_wire(want_shuffle=False))
