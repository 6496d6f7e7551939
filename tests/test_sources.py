"""Source pools: which client has which address, and what cannot be."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation.networks import Networks
from faith.translation.sources import NO_SOURCES, Addresses, Source, Sources, client_network


def v6(text: str) -> int:
    return int(IPv6Address(text))


def v4(text: str) -> int:
    return int(IPv4Address(text))


def source(clients: str, addresses: str) -> Source:
    return Source(map(client_network, clients.split()), Addresses.parse(addresses.split()))


def one_to_one(clients: str, addresses: str, length: int = 128) -> Source:
    return Source(
        map(client_network, clients.split()), Addresses.parse(addresses.split()), length, True
    )


def found(sources: Sources, client: str) -> str | None:
    address = sources.find(v6(client))
    return None if address is None else str(IPv4Address(address))


def on(sources: Sources, *addresses: str) -> Sources:
    return sources.on(Networks(32, [(v4(address), 32) for address in addresses]))


# -- presence ------------------------------------------------------------------------------------


def test_an_absent_address_is_nobodys_and_others_keep_theirs() -> None:
    pool = Sources([source("::/0", "198.51.100.1-198.51.100.4")])
    partly = on(pool, "198.51.100.1", "198.51.100.3", "198.51.100.4")
    clients = [f"2001:db8::{number:x}" for number in range(400)]
    assert {found(pool, client) for client in clients} == {f"198.51.100.{n}" for n in range(1, 5)}
    taken_over: Counter[str | None] = Counter()
    for client in clients:
        whole, now = found(pool, client), found(partly, client)
        if whole == "198.51.100.2":
            taken_over[now] += 1
        else:
            assert now == whole
    assert set(taken_over) == {"198.51.100.1", "198.51.100.3", "198.51.100.4"}


def test_the_only_address_that_is_there_is_found_among_many() -> None:
    pool = on(Sources([source("::/0", "198.51.100.0/24")]), "198.51.100.77")
    clients = [f"2001:db8::{number:x}" for number in range(200)]
    assert {found(pool, client) for client in clients} == {"198.51.100.77"}


def test_where_all_are_absent_the_address_stays_what_it_is() -> None:
    pool = Sources([source("::/0", "198.51.100.1 198.51.100.2")])
    assert found(on(pool), "2001:db8::1") == found(pool, "2001:db8::1")


def test_a_client_with_an_address_of_its_own_never_gets_anothers() -> None:
    pool = Sources([one_to_one("2001:db8::/127", "198.51.100.1 198.51.100.2")])
    assert found(on(pool, "198.51.100.1"), "2001:db8::1") == "198.51.100.2"


def test_addresses_that_are_set_up_are_never_absent() -> None:
    own = Networks(32)
    addresses = Addresses.parse(["198.51.100.1"])
    set_up = Sources([Source([(0, 0)], addresses, set_up=True)])
    assert set_up.absent(own) == []
    assert found(set_up.on(own), "2001:db8::1") == "198.51.100.1"
    here = Sources([source("::/0", "198.51.100.1-198.51.100.3 192.0.2.1")])
    has = Networks(32, [(v4("198.51.100.1"), 32)])
    assert here.absent(has) == [v4("198.51.100.2"), v4("192.0.2.1")]


# -- addresses -----------------------------------------------------------------------------------


def test_addresses_are_single_ones_networks_and_ranges_in_their_order() -> None:
    pool = Addresses.parse(["198.51.100.7", "192.0.2.8/30", "198.51.100.20 - 198.51.100.22"])
    assert [str(IPv4Address(pool[index])) for index in range(len(pool))] == [
        "198.51.100.7",
        *(f"192.0.2.{last}" for last in (8, 9, 10, 11)),
        *(f"198.51.100.{last}" for last in (20, 21, 22)),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2001:db8::1", "not an IPv4 address, a network or a range"),
        ("x", "such as 198.51.100.7, "),
        ("192.0.2.1/24", "host bits are set; did you mean 192.0.2.0/24"),
        ("192.0.2.9-192.0.2.1", "runs backwards; write 192.0.2.1-192.0.2.9"),
        ("192.0.2.1-", "not an IPv4 address"),
        ("127.0.0.1", "these addresses cannot be the source of a connection to another host"),
        ("0.0.0.0/0", "cannot be the source of a connection to another host"),
        ("223.0.0.0-224.0.0.1", "cannot be the source of a connection to another host"),
        ("198.51.100.0/30", "198.51.100.0/30: it repeats an address of the list"),
    ],
)
def test_what_is_no_address_is_told(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        Addresses.parse(["198.51.100.3", text])
    assert told.value.line == 2


# -- pools ---------------------------------------------------------------------------------------


def test_the_longest_network_of_clients_decides() -> None:
    sources = Sources(
        [
            source("::/0", "192.0.2.1"),
            source("2001:db8:6::/48 2001:db8:8::/48", "192.0.2.2"),
            source("2001:db8:6:1::/64", "192.0.2.3"),
        ]
    )
    assert found(sources, "2001:db8:5::1") == "192.0.2.1"
    assert found(sources, "2001:db8:6::1") == "192.0.2.2"
    assert found(sources, "2001:db8:8::1") == "192.0.2.2"
    assert found(sources, "2001:db8:6:1::1") == "192.0.2.3"


def test_without_a_source_it_is_the_kernels_choice() -> None:
    assert NO_SOURCES.find(v6("2001:db8::1")) is None
    assert not NO_SOURCES
    assert found(Sources([source("2001:db8:6::/48", "192.0.2.1")]), "2001:db8:7::1") is None


@given(st.integers(0, 2**128 - 1), st.integers(1, 128), st.integers(0, 2**128 - 1))
def test_rfc4787_req_2_a_client_has_one_address(client: int, length: int, other: int) -> None:
    """Also for all that the operator calls one client, and in every process."""
    pool = Source([(0, 0)], Addresses.parse(["198.51.100.0/24", "192.0.2.7"]), length)
    sources = Sources([pool])
    neighbour = client >> (128 - length) << (128 - length) | other & ((1 << (128 - length)) - 1)
    address = sources.find(client)
    assert address == sources.find(neighbour)
    assert address == Sources.of(json.loads(json.dumps(sources.values()))).find(client)
    assert address == v4("192.0.2.7") or address in range(v4("198.51.100.0"), v4("198.51.101.0"))


@pytest.mark.parametrize("step", [1, 3, *(1 << bits for bits in range(8, 96, 8))])
@pytest.mark.parametrize("size", [2, 5, 16, 100])
def test_neighbours_are_spread_evenly(step: int, size: int) -> None:
    """However far apart they are: hosts, subnets, or the first subnet of each customer."""
    sources = Sources([source("::/0", f"192.0.2.1-192.0.2.{size}")])
    first = v6("2001:db8::1")
    shares = Counter(sources.find(first + number * step) for number in range(size * 100))
    assert len(shares) == size
    assert 50 < min(shares.values()) <= max(shares.values()) < 150


def test_each_client_has_its_own() -> None:
    sources = Sources(
        [one_to_one("2001:db8:6::/56 2001:db8:7::/63", "10.1.0.0/24 10.2.0.0/31", 64)]
    )
    assert found(sources, "2001:db8:6::1") == "10.1.0.0"
    assert found(sources, "2001:db8:6:0:ffff::") == "10.1.0.0"
    assert found(sources, "2001:db8:6:1::1") == "10.1.0.1"
    assert found(sources, "2001:db8:6:ff::1") == "10.1.0.255"
    assert found(sources, "2001:db8:7::1") == "10.2.0.0"
    assert found(sources, "2001:db8:7:1::1") == "10.2.0.1"
    assert found(sources, "2001:db8:7:2::1") is None


def test_each_host_of_a_network_has_its_own() -> None:
    sources = Sources([one_to_one("2001:db8:6::100/120", "198.51.100.0/24")])
    for last in (0, 1, 0x7F, 0xFF):
        assert found(sources, f"2001:db8:6::1{last:02x}") == f"198.51.100.{last}"


@given(st.lists(st.integers(48, 64), min_size=1, max_size=4), st.data())
def test_no_two_clients_have_the_same(lengths: list[int], data: st.DataObject) -> None:
    networks = [(number << 100, length) for number, length in enumerate(lengths)]
    size = sum(1 << (64 - length) for length in lengths)
    pool = Source(networks, Addresses([(0x0A000000, 0x0A000000 + size - 1)]), 64, True)
    sources = Sources([pool])
    network, length = data.draw(st.sampled_from(networks))
    inside = st.integers(0, (1 << (64 - length)) - 1)
    one, two = data.draw(inside), data.draw(inside)
    other = data.draw(st.sampled_from(networks))[0]
    assert (sources.find(network | one << 64) == sources.find(network | two << 64)) == (one == two)
    assert (sources.find(network) == sources.find(other)) == (network == other)


@pytest.mark.parametrize(
    ("clients", "addresses", "length", "says"),
    [
        ("2001:db8::/64", "", 128, "name at least one address"),
        ("2001:db8::1", "192.0.2.1", 64, "2001:db8::1/128 is less than a client.* is 128 at least"),
        (
            "2001:db8::/64",
            "192.0.2.0/24",
            128,
            r"2\^64 clients of 128 bits .* an address each of 256",
        ),
        ("2001:db8::/55", "192.0.2.0/24", 64, "512 clients of 64 bits"),
    ],
)
def test_what_cannot_be_is_told(clients: str, addresses: str, length: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        one_to_one(clients, addresses, length)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("192.0.2.0/24", "not an IPv6 address or network"),
        ("2001:db8::1/64", "did you mean 2001:db8::/64"),
    ],
)
def test_what_is_no_network_of_clients_is_told(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        client_network(text)


def test_sources_are_values() -> None:
    sources = Sources([source("2001:db8::/64", "192.0.2.1")])
    assert sources == Sources([source("2001:db8::/64", "192.0.2.1")])
    assert hash(sources) == hash(Sources.of(json.loads(json.dumps(sources.values()))))
    assert sources != Sources([source("2001:db8::/64", "192.0.2.2")])
    assert sources != NO_SOURCES
