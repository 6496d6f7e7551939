"""Decisions in full: which rule, which service, which source, which map."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from faith.daemon.config import config, static_map
from faith.daemon.config.decision import Decision, decide
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.translation.map_table import Maps
from faith.translation.prefix import Prefix
from faith.translation.reasons import DENIED, NO_PREFIX, NO_RULE, NOT_MAPPED, OWN, SPECIAL
from faith.translation.sources import Addresses, Source, Sources

CLIENT, SERVER, MAPPED = "2001:db8:6::2", "192.0.2.80", "2001:db8:ffff::c000:250"
PREFIX = Prefix.parse("2001:db8:ffff::/96")
OWN4 = ((int(IPv4Address("192.0.2.1")), 32),)
SETTINGS = config.read(
    '[[service]]\nports = "80,21"\n[[prefix]]\naddress = "2001:db8:ffff::/96"\n[udp]\n',
    "faith.toml",
)


def decided(
    rules: str = "",
    mapped: str = MAPPED,
    port: int = 80,
    protocol: str = "tcp",
    client: str = CLIENT,
    **inputs: Any,
) -> Decision:
    known = PolicyInputs(Rules(rules, "/etc/faithd.conf"), (PREFIX,), OWN4, **inputs)
    return decide(known, SETTINGS, client, mapped, port, protocol)


def test_a_permitted_connection() -> None:
    found = decided()
    assert (found.refused, found.server, found.source) == (None, SERVER, None)
    assert (found.rule, found.rules, found.served) == (None, 0, True)
    assert found.service
    assert (found.service.ports, found.service.ftp) == ("21,80", False)
    assert decided(port=21).service.ftp  # type: ignore[union-attr]


def test_services_by_port_and_protocol() -> None:
    assert not decided(port=22).served
    assert decided(port=53, protocol="udp").served
    assert not decided(port=0, protocol="icmp").served


def test_the_rule_is_told_as_it_is_written() -> None:
    found = decided("# first\n::/0  deny   192.0.2.0/24 # why\n::/0 permit 0.0.0.0/0\n")
    assert found.refused == DENIED
    assert found.rule
    assert (found.rule.line, found.rule.text) == (2, "::/0  deny   192.0.2.0/24 # why")
    assert found.later_permits == []  # it is reached for other servers
    assert decided("::/0 deny 10.0.0.0/8\n").refused == NO_RULE


@pytest.mark.parametrize(
    ("first", "late"),
    [
        ("::/0 deny 192.0.2.0/24", 1),
        ("2001:db8:6::/64 deny 192.0.2.0/24", 0),
        ("::/0 deny 192.0.2.80", 0),
    ],
)
def test_a_permit_is_shadowed_only_as_a_whole(first: str, late: int) -> None:
    found = decided(f"{first}\n2001:db8::/32 permit 192.0.2.0/25\n")
    assert (found.refused, len(found.later_permits)) == (DENIED, late)


def test_safe_defaults() -> None:
    assert decided(mapped="2001:db8:ffff::7f00:1").refused == SPECIAL
    assert decided(mapped="2001:db8:ffff::c000:201").refused == OWN
    assert decided(mapped="2001:db8::1").refused == NO_PREFIX


def test_sources() -> None:
    by_rule = decided("::/0 permit 0.0.0.0/0 192.0.2.1")
    assert (by_rule.source, by_rule.source_from, by_rule.source_absent) == (
        "192.0.2.1",
        "rule",
        False,
    )
    assert decided("::/0 permit 0.0.0.0/0 192.0.2.9").source_absent
    pool = Sources([Source([(0, 0)], Addresses.parse(["192.0.2.7"]))])
    assert (decided(sources=pool).source_from, decided(sources=pool).source_absent) == (
        "source",
        True,
    )
    maps = Maps(static_map.parse(f"192.0.2.102 {CLIENT}"))
    by_map = decided(maps=maps)
    assert (by_map.source, by_map.source_from, by_map.source_absent) == (
        "192.0.2.102",
        "map",
        False,
    )


def test_the_other_direction() -> None:
    maps = Maps(static_map.parse(f"192.0.2.102 {CLIENT}", "maps"))
    words: dict[str, Any] = {"mapped": "192.0.2.102", "client": SERVER, "maps": maps}
    found = decided(**words)
    assert (found.refused, found.server, found.server_port) == (None, CLIENT, 80)
    assert (found.source, found.source_from) == (MAPPED, "client")
    assert CLIENT in found.map
    assert found.map_file == "maps:1"
    denied = decided("::/0 deny 0.0.0.0/0", **words)
    assert denied.refused == DENIED
    assert denied.rule
    other = decided(**{**words, "mapped": "192.0.2.103"})
    assert (other.refused, other.in_pool) == (NOT_MAPPED, False)
    pool = ((int(IPv4Address("192.0.2.96")), 28),)
    assert decided(**{**words, "mapped": "192.0.2.103"}, pool=pool).in_pool


def test_a_lease() -> None:
    host = int(IPv6Address(CLIENT))
    pool = ((int(IPv4Address("198.51.100.0")), 24),)
    inputs = PolicyInputs(Rules("", "x"), (PREFIX,), OWN4, pool=pool)
    words = SERVER, "198.51.100.7", 80, "tcp"
    found = decide(inputs, SETTINGS, *words, lambda v4: host)
    assert (found.leased, found.server) == (True, CLIENT)
