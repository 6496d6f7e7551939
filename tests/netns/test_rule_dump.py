"""The ruleset of nftables as it is read, beside what nft(8) was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.kernel.nft import rule_dump
from faith.kernel.nft.rule_dump import ACCEPT, DROP, DumpedChain, Element, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host, Network

pytestmark = pytest.mark.netns

TEXT = """
table inet one {
    set networks { type ipv6_addr; flags interval; elements = { 2001:db8:1::/48, 2001:db8:3::1 } }
    set pairs {
        type ipv4_addr . inet_service; flags interval;
        elements = { 192.0.2.0/24 . 80-90 }
    }
    map fates { type inet_service : verdict; elements = { 22 : accept, 23 : drop } }
    chain in {
        type filter hook input priority 5; policy drop;
        tcp dport vmap @fates
        ct state established accept
    }
    chain other { }
}
table ip6 asleep {
    flags dormant
    chain in { type filter hook input priority 0; policy drop; }
}
table netdev early {
    chain in { type filter hook ingress device "lo" priority 0; }
}
"""


@pytest.fixture
def host(network: Network, need: Callable[[str], str]) -> Host:
    need("nft")
    return network.host("host")


def read(host: Host, text: str) -> rule_dump.Ruleset:
    host.run(["nft", "-f", "-"], stdin=text)
    return host.call(rule_dump.read)


def test_chains(host: Host) -> None:
    found = read(host, TEXT)
    assert set(found.chains) == {
        DumpedChain("inet", "one", "in", "filter", "input", 5, True),
        DumpedChain("inet", "one", "other"),
        DumpedChain("netdev", "early", "in", "filter", "ingress", 0, False, ("lo",)),
    }


def test_rules_have_their_handles_and_expressions(host: Host) -> None:
    found = read(host, TEXT)
    (chain,) = [one for one in found.chains if one.hook == "input"]
    by_map, by_state = found.rules_of(chain)
    assert [one.name for one in by_map.expressions] == ["meta", "cmp", "payload", "lookup"]
    assert by_state.expressions[-1].name == "immediate"
    listed = host.run(["nft", "-a", "list", "chain", "inet", "one", "in"]).stdout
    assert f"ct state established accept # handle {by_state.handle}\n" in listed


def test_sets(host: Host) -> None:
    found = read(host, TEXT).sets
    networks = found["inet", "one", "networks"].elements
    ends = [(one.first.hex()[:12], one.last.hex()) for one in networks if one.first]
    assert ends == [
        ("20010db80001", "20010db80001" + "f" * 20),
        ("20010db80003", "20010db8000300000000000000000001"),
    ]
    (pair,) = found["inet", "one", "pairs"].elements
    assert found["inet", "one", "pairs"].fields == (4, 2)
    assert pair == Element(bytes([192, 0, 2, 0, 0, 80, 0, 0]), bytes([192, 0, 2, 255, 0, 90, 0, 0]))
    fates = {one.first: one.value for one in found["inet", "one", "fates"].elements}
    assert fates == {b"\0\x16": Verdict(ACCEPT), b"\0\x17": Verdict(DROP)}


def test_a_namespace_without_rules(host: Host) -> None:
    assert host.call(rule_dump.read).chains == ()
