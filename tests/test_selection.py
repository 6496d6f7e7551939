"""Selections of sessions, compared with the networks of the standard library."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation.selection import Network, Selection

CLIENT, SERVER, SOURCE = ("2001:db8:6::2", 1024), ("192.0.2.80", 443), ("198.51.100.1", 999)


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network | IPv6Network:
    address = draw(st.ip_addresses())
    return ip_network((address, draw(st.integers(0, address.max_prefixlen))), strict=False)


@given(networks(), st.ip_addresses(), st.integers(0, 2**128))
def test_a_network_has_the_addresses_that_it_has(
    network: IPv4Network | IPv6Network, address: object, offset: int
) -> None:
    parsed = Network(str(network))
    assert (str(address) in parsed) == (address in network)
    inside = network[offset % network.num_addresses]
    assert str(inside) in parsed
    assert str(ip_address(inside)) in Network(str(inside))


def test_a_zone_does_not_matter() -> None:
    assert "fe80::1%eth0" in Network("fe80::/10")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2001:db8::/x", "no length from 0 to 128"),
        ("2001:db8::/", "no length"),
        ("192.0.2.0/33", "no length from 0 to 32"),
        ("192.0.2.0/-1", "no length"),
        ("192.0.2.1/24", "bits set beyond"),
        ("nobody", "'nobody' is no IPv4 or IPv6 address"),
        ("", "no IPv4 or IPv6 address"),
        ("\x00", "no IPv4 or IPv6 address"),
    ],
)
def test_a_network_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Network(text)


def test_all_that_is_given_must_hold() -> None:
    def includes(**wanted: object) -> bool:
        return Selection(**wanted).includes(CLIENT, SERVER, lambda: SOURCE)  # type: ignore[arg-type]

    assert includes()
    pairs: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"client": "2001:db8::/32"}, {"client": "2001:db8:7::/48"}),
        ({"server": "192.0.2.80"}, {"server": "192.0.2.81"}),
        ({"source": "198.51.100.0/24"}, {"source": "2001:db8::/32"}),
        ({"port": 443}, {"port": 80}),
        ({"client_port": 1024}, {"client_port": 0}),
    ]
    for right, wrong in pairs:
        assert includes(**right)
        assert not includes(**wrong)
        assert not includes(**{"client": "::/0", "server": "0.0.0.0/0"} | wrong)


def test_a_source_that_is_not_known_is_in_no_network() -> None:
    assert not Selection(source="0.0.0.0/0").includes(CLIENT, SERVER, lambda: None)
