"""Networks against the standard library's own membership."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from hypothesis import given
from hypothesis import strategies as st

from faith.translation.networks import Networks, contains, join, joined

networks4 = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


@given(st.lists(networks4, max_size=20), st.integers(0, 2**32 - 1))
def test_finds_the_longest_as_ipaddress_would(networks: list[IPv4Network], address: int) -> None:
    table = Networks(32, ((int(n.network_address), n.prefixlen) for n in networks))
    holding = [n for n in networks if IPv4Address(address) in n]
    longest = max(holding, key=lambda n: n.prefixlen, default=None)
    expected = longest and (int(longest.network_address), longest.prefixlen)
    assert table.find(address) == expected
    assert (address in table) == (longest is not None)


@given(st.lists(networks4, max_size=5), st.integers(0, 2**32 - 1), st.integers(0, 300))
def test_finds_the_first_that_none_holds(
    networks: list[IPv4Network], first: int, count: int
) -> None:
    table = Networks(32, ((int(n.network_address), n.prefixlen) for n in networks))
    last = min(first + count, 2**32 - 1)
    outside = (address for address in range(first, last + 1) if address not in table)
    assert table.first_outside(first, last) == next(outside, None)


@given(st.lists(networks4, max_size=5), st.lists(networks4, max_size=5), st.sampled_from([32, 128]))
def test_are_equal_when_they_hold_the_same(
    some: list[IPv4Network], others: list[IPv4Network], bits: int
) -> None:
    one, other = ({(int(n.network_address), n.prefixlen) for n in few} for few in (some, others))
    assert (Networks(32, one) == Networks(bits, other)) == (one == other and bits == 32)
    assert hash(Networks(32, one)) == hash(Networks(32, [*one, *one]))


def test_the_first_outside_comes_behind_each_network() -> None:
    table = Networks(32, [(0x0A000000, 31), (0x0A000002, 32)])
    assert table.first_outside(0x0A000000, 0x0A000009) == 0x0A000003
    assert table.first_outside(0x0A000000, 0x0A000002) is None


def test_are_equal_to_nothing_else() -> None:
    assert (Networks(32) == ()) is False


def test_those_of_others_that_begin_inside() -> None:
    inside = Networks(32, [(0xC0000200, 24)])
    assert inside.holding([(0xC0000201, 32), (0xC0000301, 32), (0, 0)]) == [(0xC0000201, 32)]


near4 = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(0, 63).map(lambda low: 198 << 24 | low),
    st.integers(26, 32),
)


@given(st.lists(networks4 | near4, max_size=20))
def test_networks_are_joined_one_by_one_or_all_at_once(networks: list[IPv4Network]) -> None:
    plain = [(int(one.network_address), one.prefixlen) for one in networks]
    expected = [(int(one.network_address), one.prefixlen) for one in collapse_addresses(networks)]
    assert joined(plain) == expected
    found: list[tuple[int, int]] = []
    for one in plain:
        join(found, one)
    assert found == expected


@given(near4, near4)
def test_a_network_contains_its_parts(one: IPv4Network, other: IPv4Network) -> None:
    plain = [(int(each.network_address), each.prefixlen) for each in (one, other)]
    assert contains(*plain) == other.subnet_of(one)


@given(st.lists(networks4, max_size=20))
def test_all_of_them_can_be_listed(networks: list[IPv4Network]) -> None:
    pairs = {(int(n.network_address), n.prefixlen) for n in networks}
    listed = list(Networks(32, pairs))
    assert set(listed) == pairs
    assert [length for _, length in listed] == sorted((n for _, n in pairs), reverse=True)
