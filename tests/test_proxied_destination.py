"""Where clients of a proxy may go: both families, by rules, safe defaults and maps."""

from __future__ import annotations

import pytest

from faith.translation.access import Access
from faith.translation.address import number, number6
from faith.translation.destination import Policy
from faith.translation.map import TCP, UDP, Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.proxied_destination import admit_proxied
from faith.translation.reasons import (
    DENIED,
    LOOP,
    NO_RULE,
    NOT_GLOBAL,
    OWN,
    SOURCE_MAPPED,
    SPECIAL,
)

SITE = Prefix.parse("2001:db8:ffff::/96")
WELL_KNOWN = Prefix.parse("64:ff9b::/96")
V6_CLIENT, V4_CLIENT = "2001:db8:6::2", "192.0.2.9"
MAPPED, INNER = "198.51.100.102", "2001:db8:a::2"
MAPS = Maps(
    [
        Map((number(MAPPED), 32), (number(INNER), 128)),
        Map((number(MAPPED), 32), (number("2001:db8:a::3"), 128), Ports([(8080, 8080)]), 80),
        Map((number("198.51.100.103"), 32), (number("2001:db8:ffff::1"), 128)),
        Map((number("198.51.100.104"), 32), (number("2001:db8:6::1"), 128)),
    ]
)
OWN4 = Networks(32, [(number("192.0.2.1"), 32)])
OWN6 = Networks(128, [(number("2001:db8:6::1"), 128), (1, 128)])


def policy(rules: str = "", *prefixes: Prefix) -> Policy:
    some = Prefixes(prefixes or (SITE,))
    return Policy(some, OWN4, Access.parse(rules, "file"), MAPS, own6=OWN6)


def refused(host: str, rules: str = "", client: str = V6_CLIENT, *prefixes: Prefix) -> str | None:
    return admit_proxied(policy(rules, *prefixes), number6(client), host, 80).refused


def server(host: str, port: int = 80, client: str = V6_CLIENT) -> tuple[str | None, str, int]:
    found = admit_proxied(policy("", SITE, WELL_KNOWN), number6(client), host, port)
    return found.refused, found.server, found.port


@pytest.mark.parametrize("client", [V6_CLIENT, V4_CLIENT])
@pytest.mark.parametrize(
    ("host", "goes_to"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("2001:db8:b::5", "2001:db8:b::5"),
        ("2001:0DB8:B:0::5", "2001:db8:b::5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:ffff::203.0.113.5", "203.0.113.5"),
        ("64:ff9b::8.8.8.8", "8.8.8.8"),
        (MAPPED, INNER),
        ("::ffff:198.51.100.102", INNER),
        ("2001:db8:ffff::198.51.100.102", INNER),
    ],
)
def test_both_families_reach_both(client: str, host: str, goes_to: str) -> None:
    assert server(host, 80, client) == (None, goes_to, 80)


def test_a_map_of_a_port_leads_to_another() -> None:
    assert server(MAPPED, 8080) == (None, "2001:db8:a::3", 80)


def test_what_is_leased_leads_to_the_host() -> None:
    lending = policy()
    lending.leased_host = {number("203.0.113.5"): number("2001:db8:5::5")}.get
    for protocol in (TCP, UDP):
        found = admit_proxied(lending, number6(V4_CLIENT), "203.0.113.5", 53, protocol)
        assert (found.refused, found.server, found.port) == (None, "2001:db8:5::5", 53)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", SPECIAL),
        ("169.254.169.254", SPECIAL),
        ("0.0.0.0", SPECIAL),
        ("255.255.255.255", SPECIAL),
        ("::ffff:127.0.0.1", SPECIAL),
        ("2001:db8:ffff::127.0.0.1", SPECIAL),
        ("192.0.2.1", OWN),
        ("::ffff:192.0.2.1", OWN),
        ("2001:db8:ffff::192.0.2.1", OWN),
        ("::", SPECIAL),
        ("::1", SPECIAL),
        ("::127.0.0.1", SPECIAL),
        ("::ffff:0:127.0.0.1", SPECIAL),
        ("64:ff9b::127.0.0.1", SPECIAL),
        ("64:ff9b:1::1", SPECIAL),
        ("100::1", SPECIAL),
        ("fe80::1", SPECIAL),
        ("fe80::1%lo", SPECIAL),
        ("fec0::1", SPECIAL),
        ("ff02::1", SPECIAL),
        ("2001:db8:6::1", OWN),
        ("198.51.100.103", LOOP),
        ("198.51.100.104", OWN),
    ],
)
@pytest.mark.parametrize("client", [V6_CLIENT, V4_CLIENT])
def test_the_safe_defaults_refuse_however_it_is_written(host: str, why: str, client: str) -> None:
    assert refused(host, client=client) == why
    if why != LOOP:
        assert refused(host, "::/0 permit 0.0.0.0/0\n::/0 permit ::/0", client) == why


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1", "fe80::/10"),
        ("64:ff9b:1::1", "64:ff9b:1::/48"),
        ("2001:db8:6::1", "2001:db8:6::1"),
        ("198.51.100.104", "198.51.100.104"),
    ],
)
def test_unless_a_rule_names_it(host: str, named: str) -> None:
    assert refused(host, f"::/0 permit {named}") is None
    assert refused(host, f"::/0 deny {named}\n::/0 permit {named}") == DENIED


def test_the_well_known_prefix_stands_for_nothing_private() -> None:
    asked = "64:ff9b::10.0.0.1"
    assert refused(asked, "", V6_CLIENT, WELL_KNOWN) == NOT_GLOBAL
    assert refused(asked, "::/0 permit 10.0.0.1", V6_CLIENT, WELL_KNOWN) == NOT_GLOBAL
    assert refused("10.0.0.1", "", V6_CLIENT, WELL_KNOWN) is None


@pytest.mark.parametrize("host", ["203.0.113.5", "2001:db8:b::5", MAPPED])
def test_a_client_inside_the_prefix_is_refused(host: str) -> None:
    assert refused(host, client="2001:db8:ffff::1") == SOURCE_MAPPED


def test_rules_decide_by_the_family_of_the_destination() -> None:
    rules = f"{V4_CLIENT} permit 2001:db8:b::/48\n2001:db8::/32 permit 203.0.113.0/24"
    assert refused("2001:db8:b::5", rules, V4_CLIENT) is None
    assert refused("203.0.113.5", rules, V4_CLIENT) == NO_RULE
    assert refused("203.0.113.5", rules, V6_CLIENT) is None
    assert refused("2001:db8:b::5", rules, V6_CLIENT) == NO_RULE
    assert refused("203.0.113.5", "192.0.2.0/24 deny 203.0.113.5", V4_CLIENT) == DENIED
    assert refused("2001:db8:b::5", "192.0.2.0/24 deny ::/0", V4_CLIENT) == DENIED


def test_the_source_of_a_rule_is_that_of_the_connection() -> None:
    made = policy("::/0 permit 0.0.0.0/0 192.0.2.77\n::/0 permit ::/0")
    assert admit_proxied(made, number6(V4_CLIENT), "203.0.113.5", 80).source == "192.0.2.77"
    assert admit_proxied(made, number6(V4_CLIENT), "2001:db8:b::5", 80).source is None


def test_what_is_refused_goes_nowhere() -> None:
    found = admit_proxied(policy(), number6(V6_CLIENT), "127.0.0.1", 80)
    assert (found.server, found.port, found.source) == ("", 0, None)


def test_a_name_is_no_address() -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        admit_proxied(policy(), number6(V6_CLIENT), "server.example", 80)
