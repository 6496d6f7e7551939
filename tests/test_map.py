"""One map by itself; tests/test_map_table.py has many, and what contradicts itself."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from faith.errors import ConfigError
from faith.translation.map import BOTH, ICMP, IN, OUT, TCP, UDP, Map, overlap
from faith.translation.ports import Ports


def network(text: str) -> tuple[int, int]:
    found = ip_network(text)
    return int(found.network_address), found.prefixlen


V4, V6 = network("198.51.100.0/24"), network("2001:db8:a::/120")
ONE4, ONE6 = network("198.51.100.8"), network("2001:db8:a::8")
HTTP = Ports([(80, 80)])


@pytest.mark.parametrize(
    ("v6", "host4", "host6"),
    [
        ("2001:db8:a::/120", "198.51.100.7", "2001:db8:a::7"),
        ("2001:db8:a::/64", "198.51.100.7", "2001:db8:a:0:700::"),  # RFC 7757 section 3.3
        ("2001:db8:a::/120", "198.51.100.255", "2001:db8:a::ff"),
    ],
)
def test_the_bits_of_the_host_follow_the_network(v6: str, host4: str, host6: str) -> None:
    made = Map(V4, network(v6))
    four, six = network(host4)[0], network(host6)[0]
    assert made.to_v6(four) == six
    assert made.to_v4(six) == four


def test_further_bits_of_an_ipv6_host_are_dropped() -> None:
    made = Map(V4, network("2001:db8:a::/64"))
    assert made.to_v4(network("2001:db8:a:0:7ff:ffff:ffff:ffff")[0]) == V4[0] + 7


def test_what_a_map_is_for_unless_it_is_said() -> None:
    plain, ported = Map(ONE4, ONE6), Map(ONE4, ONE6, HTTP)
    assert (plain.protocols, plain.direction) == (frozenset((TCP, UDP, ICMP)), BOTH)
    assert (plain.from_v4, plain.from_v6) == (True, True)
    assert (ported.protocols, ported.direction) == (frozenset((TCP, UDP)), IN)
    assert (ported.from_v4, ported.from_v6) == (True, False)
    out = Map(ONE4, ONE6, direction=OUT)
    assert (out.from_v4, out.from_v6) == (False, True)


def test_only_what_is_not_usual_is_said() -> None:
    assert Map(ONE4, ONE6).said() == {}
    assert Map(ONE4, ONE6, protocols=frozenset((TCP, UDP, ICMP)), direction=BOTH).said() == {}
    assert Map(ONE4, ONE6, HTTP, protocols=frozenset((TCP, UDP)), direction=IN).said() == {
        "ports": HTTP
    }
    all_of_it: dict[str, Any] = {
        "protocols": frozenset([TCP]),
        "ports": HTTP,
        "to_port": 8080,
        "direction": BOTH,
    }
    assert Map(ONE4, ONE6, **all_of_it).said() == all_of_it


def test_as_text_the_protocols_have_an_order() -> None:
    made = Map(V4, V6, protocols=frozenset([ICMP, TCP]), direction=OUT)
    assert str(made) == "198.51.100.0/24 2001:db8:a::/120 protocols=tcp,icmp direction=out"
    assert repr(made) == f"<Map {made}>"


def test_it_is_the_same_wherever_it_was_read() -> None:
    one, other = Map(ONE4, ONE6, file="a", line=1), Map(ONE4, ONE6, file="b", line=2)
    assert one == other
    assert hash(one) == hash(other)
    for different in (
        Map(V4, V6),
        Map(ONE4, network("2001:db8:a::9")),
        Map(ONE4, ONE6, HTTP),
        Map(ONE4, ONE6, direction=IN),
        Map(ONE4, ONE6, protocols=frozenset([TCP])),
    ):
        assert one != different
    assert Map(ONE4, ONE6, HTTP, 81) != Map(ONE4, ONE6, HTTP, 82)
    assert one != str(one)


@pytest.mark.parametrize(
    ("v4", "good"),
    [
        ("0.0.0.0/8", False),
        ("1.0.0.0/8", True),
        ("126.0.0.0/8", True),
        ("126.0.0.0/7", False),
        ("127.0.0.1/32", False),
        ("128.0.0.0/8", True),
        ("223.0.0.0/8", True),
        ("224.0.0.0/8", False),
        ("255.255.255.255/32", False),
    ],
)
def test_the_bounds_of_hosts(v4: str, good: bool) -> None:
    def make() -> Map:
        return Map(network(v4), network("2001:db8::/32"))

    if good:
        make()
    else:
        with pytest.raises(ConfigError, match="that no host can have"):
            make()


@pytest.mark.parametrize("v6", ["2000::/3", "3fff::/16", "64:ff9b:1::/48", "fd00::/8"])
def test_hosts_beyond_a_link_may_be_mapped(v6: str) -> None:
    assert Map(ONE4, network(v6)).v6 == network(v6)


@pytest.mark.parametrize(
    "v6", ["::/32", "::1/128", "::ffff:0:0/96", "fe80::/64", "fe80::/9", "ff00::/8", "fffe::/16"]
)
def test_hosts_of_one_link_may_not(v6: str) -> None:
    with pytest.raises(ConfigError, match="contains loopback, link-local"):
        Map(ONE4, network(v6))


def test_the_network_that_would_have_room_is_told() -> None:
    with pytest.raises(ConfigError, match=r"7 bits .* need 8; did you mean /120"):
        Map(V4, network("2001:db8:a::/121"))


def test_one_of_two_that_overlap_holds_the_other() -> None:
    assert overlap(V4, ONE4, 32)
    assert overlap(ONE4, V4, 32)
    assert not overlap(ONE4, network("198.51.100.9"), 32)
    assert overlap((0, 0), ONE4, 32)
    assert not overlap(V6, network("2001:db8:a::1:0/120"), 128)
