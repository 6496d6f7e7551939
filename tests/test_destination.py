"""The safe defaults, and the rules that name their exceptions."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from faith.translation import reasons
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.sources import Addresses, Source, Sources

SITE = Prefix.parse("2001:db8:ffff::/96")
WELL_KNOWN = Prefix.parse("64:ff9b::/96")
CLIENT = "2001:db8:6::2"


def refused(
    server: str, *, rules: str = "", client: str = CLIENT, prefix: Prefix = SITE
) -> str | None:
    own = Networks(32, [(int(IPv4Address("192.0.2.1")), 32), (int(IPv4Address("192.0.2.255")), 32)])
    policy = Policy(Prefixes([SITE, WELL_KNOWN]), own, Access.parse(rules))
    verdict = policy.admit(int(IPv6Address(client)), int(IPv4Address(server)), prefix)
    return verdict.refused


SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "192.0.0.8",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]


@pytest.mark.parametrize("server", SPECIAL)
def test_special_destinations_are_refused(server: str) -> None:
    assert refused(server) == reasons.SPECIAL
    assert refused(server, rules="::/0 permit 0.0.0.0/0") == reasons.SPECIAL


@pytest.mark.parametrize("server", SPECIAL)
def test_unless_a_rule_names_them(server: str) -> None:
    assert refused(server, rules=f"::/0 permit {server}\n::/0 permit 0.0.0.0/0") is None


@pytest.mark.parametrize("server", ["10.0.0.1", "192.168.1.1", "192.0.2.80", "8.8.8.8"])
def test_the_rest_is_open_behind_a_prefix_of_the_site(server: str) -> None:
    assert refused(server) is None


@pytest.mark.parametrize(
    "server",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.2.80", "198.18.0.1", *SPECIAL],
)
def test_rfc6052_section_3_1_nothing_private_behind_the_well_known_prefix(server: str) -> None:
    assert refused(server, prefix=WELL_KNOWN) == reasons.NOT_GLOBAL
    assert refused(server, prefix=WELL_KNOWN, rules=f"::/0 permit {server}") == reasons.NOT_GLOBAL


def test_global_behind_the_well_known_prefix() -> None:
    assert refused("8.8.8.8", prefix=WELL_KNOWN) is None


@pytest.mark.parametrize("server", ["192.0.2.1", "192.0.2.255"])
def test_the_gateways_own_addresses(server: str) -> None:
    assert refused(server) == reasons.OWN
    assert refused(server, rules="::/0 permit 192.0.2.0/24") == reasons.OWN
    assert refused(server, rules=f"::/0 permit {server}") is None


def test_rfc6146_section_3_5_a_source_inside_the_prefix() -> None:
    assert refused("8.8.8.8", client="2001:db8:ffff::1") == reasons.SOURCE_MAPPED
    assert refused("8.8.8.8", client="64:ff9b::1") == reasons.SOURCE_MAPPED


def test_rules_decide() -> None:
    rules = "2001:db8:6::/48 deny 10.0.0.0/8\n2001:db8:6::/48 permit 0.0.0.0/0"
    assert refused("10.0.0.1", rules=rules) == reasons.DENIED
    assert refused("8.8.8.8", rules=rules) is None
    assert refused("8.8.8.8", rules=rules, client="2001:db8:7::1") == reasons.NO_RULE


def test_the_source_of_a_map_goes_before_that_of_a_pool() -> None:
    mapped, client = int(IPv4Address("198.51.100.7")), int(IPv6Address(CLIENT))
    maps = Maps([Map((mapped, 32), (client, 128))])
    sources = Sources([Source([(0, 0)], Addresses.parse(["198.51.100.8"]))])
    policy = Policy(Prefixes([SITE]), Networks(32), Access(), maps, sources)
    server = int(IPv4Address("192.0.2.80"))
    assert policy.admit(client, server, SITE).source4 == mapped
    assert policy.admit(client + 1, server, SITE).source4 == mapped + 1
    assert (
        Policy(Prefixes([SITE]), Networks(32), Access()).admit(client, server, SITE).source4 is None
    )


def test_the_source_of_a_rule_is_passed_on() -> None:
    policy = Policy(
        Prefixes([SITE]), Networks(32), Access.parse("::/0 permit 0.0.0.0/0 198.51.100.7")
    )
    verdict = policy.admit(1, int(IPv4Address("8.8.8.8")), SITE)
    assert verdict.source4 == int(IPv4Address("198.51.100.7"))
