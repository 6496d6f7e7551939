"""Where ``faith dns`` agrees with unbound's and BIND's DNS64, and that the manual tells where not.

All three answer from the same zones, signed and unsigned, over the same authority.  What differs
is listed here case by case, and docs/dns64.rst has a row with the reason for each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from faith.lab import Network, three_hosts
from tests.peers.resolvers import Authority, Recursive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host

pytestmark = [pytest.mark.netns, pytest.mark.peers]

PAGE = Path(__file__).parents[2] / "docs/dns64.rst"
PREFIX, WELL_KNOWN = "2001:db8:ffff::/96", "64:ff9b::/96"
PLAIN, UNBOUND, BIND, FAITH = 5301, 5302, 5303, 5304
OF_WELL_KNOWN = 10
"""The ports of servers with the well-known prefix are so much higher."""
PEERS = {"unbound": UNBOUND, "BIND": BIND}


SAME = [
    *(
        f"{name}.example AAAA"
        for name in (
            *("v4", "v6", "both", "text", "empty", "deep.empty", "nowhere", "large", "mail"),
            *("chain", "link", "chain6", "broken", "across", "old", "v4.old", "short", "private"),
        )
    ),
    "v4.example A",
    "large.example A",
    "mail.example MX",
    "v4.example AAAA CH",
    *(f"v6.signed AAAA{bits}" for bits in ("", " AD", " CD", " DO", " DO CD")),
    *(f"nowhere.signed AAAA{bits}" for bits in ("", " AD", " CD", " DO", " DO CD")),
    *(f"hidden.signed AAAA{bits}" for bits in ("", " AD", " CD", " DO", " DO CD")),
    *(f"forged.signed AAAA{bits}" for bits in ("", " AD", " DO", " DO CD")),
    "v4.signed AAAA",
    "v4.signed AAAA DO CD",
    "ipv4only.arpa A",
    "ipv4only.arpa AAAA",
    "ipv4only.arpa TXT",
    "www.ipv4only.arpa AAAA",
]
"""A name, a type, and maybe a class or bits of the query."""
DIFFERENT = {
    "mapped.example AAAA": {"unbound"},
    "mixed.example AAAA": {"unbound"},
    "long.example AAAA TTL": {"unbound"},
    "loopback.example AAAA": {"unbound", "BIND"},
    "v4.example ANY": {"unbound"},
    "v4.signed AAAA AD": {"unbound", "BIND"},
    "v4.signed AAAA CD": {"unbound"},
    "v4.signed AAAA DO": {"unbound", "BIND"},
    "forged.signed AAAA CD": {"unbound"},
    "2001:db8:ffff::192.0.2.80 PTR": {"BIND"},
    "2001:db8:ffff::192.0.2.81 PTR": {"unbound", "BIND"},
    "2001:db8:ffff::192.0.2.82 PTR": {"BIND"},
    "2001:db8:ffff::192.0.0.170 PTR": {"unbound"},
    "private.example AAAA WKP": {"unbound", "BIND"},
}
"""And who of the peers says something else than ``faith dns``."""


class Said(NamedTuple):
    """What makes two replies different."""

    rcode: str
    authentic: bool
    answers: list[str]
    denied_by: list[str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], str]) -> Iterator[Host]:
    """The host with all recursive servers."""
    directory = tmp_path_factory.mktemp("zones")
    with Network() as network:
        lab = three_hosts(network)
        authority = Authority(lab.server, "192.0.2.80", directory, need)
        recursive = Recursive(lab.gateway, authority, directory, need)
        recursive.unbound(PLAIN)
        for prefix, above in ((PREFIX, 0), (WELL_KNOWN, OF_WELL_KNOWN)):
            recursive.unbound(UNBOUND + above, prefix)
            recursive.bind(BIND + above, prefix)
            recursive.faith(FAITH + above, prefix, PLAIN)
        _fill_caches(lab.gateway)
        yield lab.gateway


def _fill_caches(host: Host) -> None:
    """Have everybody know every name, validated: what is said depends on it, but for times."""
    for case in (*SAME, *DIFFERENT):
        words = case.split()
        if "TTL" not in words:
            plain = " ".join(word for word in words if word not in ("AD", "CD", "DO"))
            for port in (FAITH, *PEERS.values()):
                ask(host, port, plain)


def ask(host: Host, port: int, case: str) -> Said:
    """What the server on *port* says to the query of *case*."""
    name, kind, *words = case.split()
    if kind == "PTR":
        name = dns.reversename.from_address(name).to_text()
    klass = "CH" if "CH" in words else "IN"
    query = dns.message.make_query(name, kind, klass, use_edns=0, want_dnssec="DO" in words)
    query.flags |= dns.flags.CD if "CD" in words else 0
    query.flags |= dns.flags.AD if "AD" in words else 0
    port += OF_WELL_KNOWN if "WKP" in words else 0
    reply, _ = host.call(
        lambda: dns.query.udp_with_fallback(query, Recursive.ADDRESS, port=port, timeout=8)
    )
    return Said(
        dns.rcode.to_text(reply.rcode()),
        bool(reply.flags & dns.flags.AD),
        sorted(
            " ".join(
                [
                    rrset.name.to_text(),
                    dns.rdatatype.to_text(rrset.rdtype),
                    dns.rdatatype.to_text(rrset.covers) if rrset.covers else str(rdata),
                    str(_about(rrset.ttl)) if "TTL" in words else "",
                ]
            )
            for rrset in reply.answer
            for rdata in rrset
        ),
        sorted({dns.rdatatype.to_text(rrset.rdtype) for rrset in reply.authority}),
    )


def _about(ttl: int) -> int:
    """*ttl* with a few seconds that may have passed."""
    return -(-ttl // 10) * 10


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("peer", PEERS)
def test_the_same_is_said(case: str, peer: str, servers: Host) -> None:
    assert ask(servers, FAITH, case) == ask(servers, PEERS[peer], case)


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_one_that_is_known(case: str, servers: Host) -> None:
    ours = ask(servers, FAITH, case)
    others = {peer: ask(servers, port, case) for peer, port in PEERS.items()}
    assert {peer for peer, said in others.items() if said != ours} == DIFFERENT[case], (
        ours,
        others,
    )


def test_every_difference_is_told_with_its_reason() -> None:
    """And nothing that is none."""
    table = PAGE.read_text().partition(".. _differences:")[2].partition("\n\n\n")[0]
    rows = [row.split("\n     - ") for row in table.split("\n   * - ")[2:]]
    assert {case.strip("`") for case, *_ in rows} == DIFFERENT.keys()
    for case, _, unbound, bind, reason in rows:
        differs = {"unbound": unbound != "the same", "BIND": bind != "the same"}
        assert {peer for peer in differs if differs[peer]} == DIFFERENT[case.strip("`")]
        assert "RFC" in reason
