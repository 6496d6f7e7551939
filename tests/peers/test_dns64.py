"""Where ``faith dns`` agrees with unbound's and BIND's DNS64, and that the manual tells where not.

All three answer from the same zones, signed and unsigned, over the same authority.  What differs
is listed here case by case, and docs/dns64.rst has a row with the reason for each.
"""

from __future__ import annotations

import socket
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
from tests.peers.resolvers import SIGNED, Authority, Recursive

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
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of all servers are."""
    return tmp_path_factory.mktemp("zones")


@pytest.fixture(scope="module")
def servers(directory: Path, need: Callable[[str], str]) -> Iterator[Host]:
    """The host with all recursive servers."""
    with Network() as network:
        lab = three_hosts(network)
        authority = Authority(lab.server, "192.0.2.80", directory, need)
        recursive = Recursive(lab.gateway, authority, directory, need)
        recursive.unbound(PLAIN)
        (numbers, key), anchor = authority.key, directory / "anchor"
        flags, protocol, algorithm = numbers.split()
        trusted = f'"{SIGNED}." static-key {flags} {protocol} {algorithm} "{key}"'
        anchor.write_text(f"trust-anchors {{ {trusted}; }};\n")
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


QUERY = dns.message.make_query("v4.example", "A", use_edns=False, id=7).to_wire()
OPT = b"\0\0\x29\x10\0\0\0\0\0\0"
ODD_QUERIES = {
    "octets behind it": QUERY + b"junk",
    "octets behind its EDNS": QUERY[:11] + b"\1" + QUERY[12:] + OPT + b"\0junk",
    "the AA bit": QUERY[:2] + b"\5" + QUERY[3:],
    "the Z bit": QUERY[:3] + b"\x40" + QUERY[4:],
    "an RCODE": QUERY[:3] + b"\5" + QUERY[4:],
    "the RA bit": QUERY[:3] + b"\x80" + QUERY[4:],
    "no RD bit": QUERY[:2] + b"\0" + QUERY[3:],
    "another opcode": QUERY[:2] + b"\x11" + QUERY[3:],
    "no question": QUERY[:5] + b"\0" + QUERY[6:12],
    "two questions": QUERY[:5] + b"\2" + QUERY[6:] + QUERY[12:],
    "EDNS version 1": QUERY[:11] + b"\1" + QUERY[12:] + b"\0\0\x29\x10\0\0\1\0\0\0\0",
    "EDNS twice": QUERY[:11] + b"\2" + QUERY[12:] + (OPT + b"\0") * 2,
    "an unknown option": QUERY[:11] + b"\1" + QUERY[12:] + OPT + b"\4\xff\xff\0\0",
    "a cookie": QUERY[:11] + b"\1" + QUERY[12:] + OPT + b"\x0c\0\x0a\0\x08abcdefgh",
    "the size 0": QUERY[:11] + b"\1" + QUERY[12:] + b"\0\0\x29\0\0\0\0\0\0\0\0",
    "type 0": QUERY[:-4] + b"\0\0\0\1",
    "type 128": QUERY[:-4] + b"\0\x80\0\1",
    "the type OPT": QUERY[:-4] + b"\0\x29\0\1",
    "a name cut short": QUERY[:18],
    "a label of an unknown kind": QUERY[:12] + b"\x42" + QUERY[13:],
    "less than a header": QUERY[:11],
}
"""Where unbound and BIND give the same, so does ``faith dns``."""


def told(host: Host, port: int, query: bytes) -> tuple[int, ...] | None:
    """The response code and the number of answers; None for silence."""

    def asked() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((Recursive.ADDRESS, port))
            sock.settimeout(8)
            sock.send(query)
            if len(query) < SHORTEST:
                sock.send(SENTINEL)
            return sock.recv(4096)

    reply = host.call(asked)
    if reply[:2] == SENTINEL[:2]:
        return None
    extended = reply[-6] if reply[-11:-8] == OPT[:3] else 0
    return reply[3] & 15, int.from_bytes(reply[6:8], "big"), extended


SHORTEST = 12
"""Octets of what is answered at all; of anything less there is no telling when silence is over."""
SENTINEL = dns.message.make_query("nothing", "TXT", id=8, flags=0).to_wire()
"""What all of them refuse at once, after anything else."""


@pytest.mark.parametrize("odd", ODD_QUERIES)
def test_odd_queries_get_what_others_give(odd: str, servers: Host) -> None:
    query = ODD_QUERIES[odd]
    for port in (UNBOUND, BIND, FAITH):  # a name that is known is answered in order
        ask(servers, port, "v4.example A")
    unbound, bind, ours = (told(servers, port, query) for port in (UNBOUND, BIND, FAITH))
    assert unbound == bind
    assert ours == unbound


VALIDATED = {
    "v6.signed AAAA": "; fully validated",
    "v4.signed A": "; fully validated",
    "nowhere.signed A": "; negative response, fully validated",
    "forged.signed A": "",
    "hidden.signed AAAA": "",
    "v4.signed AAAA": "",
    "v4.example AAAA": "; unsigned answer",
}
"""What a validating stub makes of the answers; it takes nothing that is not as it was signed.

It sets DO and not CD, to which RFC 6147 §5.5 item 2 allows synthesis: it will not have that.
"""


@pytest.mark.parametrize("case", VALIDATED)
@pytest.mark.parametrize("port", [UNBOUND, FAITH])
def test_a_validating_stub_finds_what_was_signed(
    case: str,
    port: int,
    servers: Host,
    directory: Path,
    need: Callable[[str], str],
) -> None:
    words = [f"@{Recursive.ADDRESS}", "-p", str(port), "-a", str(directory / "anchor")]
    words.append(f"+root={SIGNED}")
    found = servers.run([need("delv"), *words, *case.split()], check=False).stdout
    assert found.partition("\n")[0] == VALIDATED[case]


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
