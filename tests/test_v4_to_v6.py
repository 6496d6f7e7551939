from __future__ import annotations

import ipaddress

import pytest

from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import RFC6052, Prefix, Prefixes
from faith.translation.reasons import DENIED, LOOP, NO_RULE, NOT_MAPPED, OWN
from faith.translation.v4_to_v6 import admit_from_v4, in_rules, standing_for


def v4(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


def v6(text: str) -> int:
    return int(ipaddress.IPv6Address(text))


PREFIX = "2001:db8:ffff::/96"
CLIENT = v4("203.0.113.9")
MAPPED = v4("198.51.100.102")
SERVER = v6("2001:db8:a::2")
MAPS = Maps(
    [
        Map((MAPPED, 32), (SERVER, 128)),
        Map((MAPPED, 32), (v6("2001:db8:a::3"), 128), Ports([(8080, 8080)]), 80),
        Map((v4("198.51.100.103"), 32), (v6("2001:db8:ffff::1"), 128)),
    ]
)


def policy(rules: str = "", *prefixes: Prefix) -> Policy:
    some = prefixes or (Prefix.parse(PREFIX),)
    return Policy(Prefixes(some), Networks(32), Access.parse(rules, "file"), MAPS)


def test_what_is_refused_goes_nowhere() -> None:
    verdict = admit_from_v4(policy(), CLIENT, MAPPED + 9, 22)
    assert verdict.refused == NOT_MAPPED
    assert (verdict.server, verdict.port, verdict.source, verdict.leased) == (0, 0, None, False)


def test_what_no_map_is_for_may_be_lent() -> None:
    pooled, server = v4("203.0.113.5"), int(ipaddress.ip_address("2001:db8:5::5"))
    lending = policy()
    lending.leased_host = {pooled: server}.get
    for protocol, port in (("tcp", 22), ("icmp", 0)):
        found = admit_from_v4(lending, CLIENT, pooled, port, protocol)
        assert (found.refused, found.server, found.port, found.leased) == (None, server, port, True)
    assert admit_from_v4(lending, CLIENT, pooled + 1, 22).refused == NOT_MAPPED
    assert not admit_from_v4(lending, CLIENT, MAPPED, 22).leased


def test_what_has_become_the_gateways_own_is_lent_no_more() -> None:
    pooled, server = v4("203.0.113.5"), v6("2001:db8:5::5")
    lending = policy()
    lending.leased_host = {pooled: server}.get
    lending.own6 = Networks(128, [(server, 128)])
    assert admit_from_v4(lending, CLIENT, pooled, 22).refused == OWN
    lending.own6 = Networks(128, [(server + 1, 128)])
    assert admit_from_v4(lending, CLIENT, pooled, 22).refused is None


def test_it_goes_to_the_server_as_prefix_and_client() -> None:
    found = admit_from_v4(policy(), CLIENT, MAPPED, 22)
    assert (found.refused, found.server, found.port) == (None, SERVER, 22)
    assert found.source == v6("2001:db8:ffff::203.0.113.9")


def test_a_map_of_a_port_leads_to_another() -> None:
    found = admit_from_v4(policy(), CLIENT, MAPPED, 8080)
    assert (found.server, found.port) == (v6("2001:db8:a::3"), 80)


def test_what_is_not_mapped_and_what_would_come_back_are_refused() -> None:
    assert admit_from_v4(policy(), CLIENT, v4("198.51.100.1"), 22).refused == NOT_MAPPED
    assert admit_from_v4(policy(), CLIENT, v4("198.51.100.103"), 22).refused == LOOP


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ("::ffff:203.0.113.0/120 permit 198.51.100.102/32", None),
        ("::ffff:203.0.113.0/120 deny 198.51.100.102/32\n::/0 permit 0.0.0.0/0", DENIED),
        ("::ffff:203.0.113.0/120 permit 198.51.100.103/32", NO_RULE),
        ("2001:db8:6::/64 permit 0.0.0.0/0", NO_RULE),
        ("::/0 permit 0.0.0.0/0", None),
    ],
)
def test_rules_know_the_client_as_an_ipv4_mapped_address(rules: str, refused: str | None) -> None:
    assert admit_from_v4(policy(rules), CLIENT, MAPPED, 22).refused == refused


def test_in_rules() -> None:
    assert in_rules(CLIENT) == v6("::ffff:203.0.113.9")


def test_the_well_known_prefix_stands_for_no_private_address() -> None:
    known = Prefix.parse("64:ff9b::/96", RFC6052)
    own = Prefix.parse(PREFIX)
    assert standing_for(v4("10.0.0.1"), Prefixes([known])) is None
    assert standing_for(v4("10.0.0.1"), Prefixes([known, own])) == own
    assert standing_for(v4("8.8.8.8"), Prefixes([known, own])) == known
    assert admit_from_v4(policy("", known), v4("10.0.0.1"), MAPPED, 22).source is None


def test_every_layout_has_room_for_a_client() -> None:
    prefix = Prefix.parse("2001:db8:ff00::/40", RFC6052)
    source = admit_from_v4(policy("", prefix), CLIENT, MAPPED, 22).source
    assert source is not None
    assert prefix.unmap(source) == CLIENT
