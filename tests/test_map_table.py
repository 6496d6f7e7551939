"""Static maps: RFC 7757, against its examples and against a model that looks at every map."""

from __future__ import annotations

from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation import map_table
from faith.translation.map import DIRECTIONS, ICMP, PROTOCOLS, TCP, UDP, Map
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# RFC 7757 §3.2, figure 1; appendix B, figure 7.
EAMT = [
    ("192.0.2.1", "2001:db8:aaaa::"),
    ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
    ("192.0.2.16/28", "2001:db8:cccc::/124"),
    ("192.0.2.128/26", "2001:db8:dddd::/64"),
    ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
    ("192.0.2.224/31", "64:ff9b::/127"),
]
TRANSLATIONS = [
    ("192.0.2.1", "2001:db8:aaaa::"),
    ("192.0.2.2", "2001:db8:bbbb::b"),
    ("192.0.2.16", "2001:db8:cccc::"),
    ("192.0.2.24", "2001:db8:cccc::8"),
    ("192.0.2.31", "2001:db8:cccc::f"),
    ("192.0.2.128", "2001:db8:dddd::"),
    ("192.0.2.152", "2001:db8:dddd:0:6000::"),
    ("192.0.2.183", "2001:db8:dddd:0:dc00::"),
    ("192.0.2.191", "2001:db8:dddd:0:fc00::"),
    ("192.0.2.195", "2001:db8:eeee:9:8000::"),
    ("192.0.2.225", "64:ff9b::1"),
    ("192.0.2.248", None),
]


def v4(text: str) -> tuple[int, int]:
    network = IPv4Network(text)
    return int(network.network_address), network.prefixlen


def v6(text: str) -> tuple[int, int]:
    network = IPv6Network(text)
    return int(network.network_address), network.prefixlen


def mapped(
    one: str,
    other: str,
    ports: str = "",
    to_port: int | None = None,
    protocols: str = "",
    direction: str | None = None,
    *,
    line: int | None = None,
) -> Map:
    return Map(
        v4(one),
        v6(other),
        _ports(ports) if ports else None,
        to_port,
        frozenset(protocols.split(",")) if protocols else None,
        direction,
        "maps",
        line,
    )


def _ports(text: str) -> Ports:
    def nobody(name: str, protocol: str) -> int:
        raise OSError

    return Ports.parse(text, nobody)


def goes_to(maps: Maps, address: str, protocol: str = TCP, port: int = 80) -> str | None:
    found = maps.to_v6(int(IPv4Address(address)), protocol, port)
    return f"{IPv6Address(found[0])} {found[1]}" if found else None


def comes_from(maps: Maps, address: str, protocol: str = TCP) -> str | None:
    found = maps.to_v4(int(IPv6Address(address)), protocol)
    return str(IPv4Address(found)) if found is not None else None


@pytest.mark.parametrize(("one", "other"), TRANSLATIONS)
def test_rfc7757_appendix_b(one: str, other: str | None) -> None:
    maps = Maps(mapped(*pair) for pair in EAMT)
    for protocol in PROTOCOLS:
        assert goes_to(maps, one, protocol) == (f"{other} 80" if other else None)
        if other:
            assert comes_from(maps, other, protocol) == one


def test_ivi_is_a_map() -> None:
    """RFC 7757 §A.2, with a network that has no address of nobody's."""
    maps = Maps([mapped("198.51.100.0/24", "2001:db8:ffc6:3364::/64")])
    assert goes_to(maps, "198.51.100.64") == "2001:db8:ffc6:3364:4000:: 80"
    # Suffix bits that IPv4 has no room for do not count (§3.3.2, step 5).
    assert comes_from(maps, "2001:db8:ffc6:3364:4000::9") == "198.51.100.64"


def test_an_overlap_is_decided_by_the_longest_match() -> None:
    """RFC 7757 §5, figure 2: also where the two directions then differ."""
    maps = Maps(
        [
            mapped("198.51.100.0/24", "2001:db8:ffc6:3364::/64"),
            mapped("198.51.100.64", "2001:db8::abcd"),
        ]
    )
    assert goes_to(maps, "198.51.100.64") == "2001:db8::abcd 80"
    assert comes_from(maps, "2001:db8:ffc6:3364:4000::") == "198.51.100.64"
    assert comes_from(maps, "2001:db8::abcd") == "198.51.100.64"


def test_each_port_has_a_table_of_its_own() -> None:
    maps = Maps(
        [
            mapped("198.51.100.0/24", "2001:db8:1::/120"),
            mapped("198.51.100.7", "2001:db8:2::7", "80,443"),
            mapped("198.51.100.7", "2001:db8:3::7", "8080", 80, TCP),
            mapped("198.51.100.8", "2001:db8:2::8"),
            mapped("198.51.100.8", "2001:db8:3::8", "25", protocols=TCP),
        ]
    )
    assert goes_to(maps, "198.51.100.7", TCP, 80) == "2001:db8:2::7 80"
    assert goes_to(maps, "198.51.100.7", UDP, 443) == "2001:db8:2::7 443"
    assert goes_to(maps, "198.51.100.7", TCP, 8080) == "2001:db8:3::7 80"
    assert goes_to(maps, "198.51.100.7", UDP, 8080) == "2001:db8:1::7 8080"
    assert goes_to(maps, "198.51.100.7", TCP, 81) == "2001:db8:1::7 81"
    assert goes_to(maps, "198.51.100.7", ICMP, 0) == "2001:db8:1::7 0"
    assert goes_to(maps, "198.51.100.8", TCP, 25) == "2001:db8:3::8 25"
    assert goes_to(maps, "198.51.100.8", TCP, 26) == "2001:db8:2::8 26"
    assert comes_from(maps, "2001:db8:2::7") is None
    assert comes_from(maps, "2001:db8:2::8") == "198.51.100.8"


def test_directions() -> None:
    maps = Maps(
        [
            mapped("198.51.100.1", "2001:db8::1", direction="in"),
            mapped("198.51.100.2", "2001:db8::1", direction="out"),
            mapped("198.51.100.3", "2001:db8::1", "25", direction="in"),
            mapped("198.51.100.4", "2001:db8::4", "25", direction="both"),
            mapped("198.51.100.4", "2001:db8::4", "80", direction="both"),
        ]
    )
    assert goes_to(maps, "198.51.100.1") == "2001:db8::1 80"
    assert goes_to(maps, "198.51.100.2") is None
    assert comes_from(maps, "2001:db8::1") == "198.51.100.2"
    assert comes_from(maps, "2001:db8::4", UDP) == "198.51.100.4"
    assert comes_from(maps, "2001:db8::4", ICMP) is None


def test_no_maps() -> None:
    assert goes_to(NO_MAPS, "198.51.100.1") is None
    assert comes_from(NO_MAPS, "2001:db8::1") is None
    assert (len(NO_MAPS), list(NO_MAPS), NO_MAPS.networks) == (0, [], ())
    assert Maps([mapped("198.51.100.1", "2001:db8::1")]) != NO_MAPS == Maps([])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("198.51.100.0/24", "2001:db8::/121"), "has 7 bits for the hosts of .* who need 8.*/120"),
        (("127.0.0.0/8", "2001:db8::/64"), "no host can have"),
        (("0.0.0.0/0", "2001:db8::/64"), "no host can have"),
        (("239.0.0.1", "2001:db8::1"), "no host can have"),
        (("198.51.100.1", "::1"), "loopback, link-local"),
        (("198.51.100.1", "::ffff:192.0.2.1"), "loopback, link-local"),
        (("198.51.100.1", "fe80::1"), "loopback, link-local"),
        (("198.51.100.1", "febf::1"), "loopback, link-local"),
        (("198.51.100.1", "ff02::1"), "loopback, link-local"),
        (("198.51.100.1", "2001:db8::1", "80-81", 8080), "one port"),
        (("198.51.100.1", "2001:db8::1", "", 8080), "one port"),
        (("198.51.100.1", "2001:db8::1", "80", None, ICMP), "ICMP has no ports"),
        (("198.51.100.1", "2001:db8::1", "80", None, "", "out"), "direction out cannot have them"),
    ],
)
def test_what_contradicts_itself(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        mapped(*arguments, line=7)
    assert (told.value.file, told.value.line) == ("maps", 7)


def test_host_bits_tell_the_network_that_is_likely_meant() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 198\.51\.100\.0/24\?"):
        Map((v4("198.51.100.1")[0], 24), v6("2001:db8::/120"))
    with pytest.raises(ConfigError, match=r"did you mean 2001:db8::/120\?"):
        Map(v4("198.51.100.0/24"), (v6("2001:db8::1")[0], 120))


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (
            ("198.51.100.8", "2001:db8::1"),
            ("198.51.100.8", "2001:db8::2"),
            r"198\.51\.100\.8 stands for 2001:db8::1 already \(line 1\)",
        ),
        (  # RFC 7757 §5, figure 3
            ("198.51.100.8", "2001:db8::1"),
            ("198.51.100.9", "2001:db8::1"),
            r"goes out as 198\.51\.100\.8 already \(line 1\); is direction in meant\?",
        ),
        (
            ("198.51.100.8", "2001:db8::1", "80-90,443"),
            ("198.51.100.8", "2001:db8::2", "70,85-87"),
            r"198\.51\.100\.8 port 85 stands for 2001:db8::1 already",
        ),
        (
            ("198.51.100.8", "2001:db8::1", "80"),
            ("198.51.100.8", "2001:db8::1", "80"),
            "the same map is there already",
        ),
        (
            ("198.51.100.8", "2001:db8::1", "", None, TCP, "out"),
            ("198.51.100.8", "2001:db8::1", "", None, TCP, "out"),
            "the same map is there already",
        ),
    ],
)
def test_two_that_contradict_each_other(
    one: tuple[Any, ...], other: tuple[Any, ...], says: str
) -> None:
    pair = [mapped(*one, line=1), mapped(*other, line=2)]
    with pytest.raises(ConfigError, match=says) as told:
        Maps(pair)
    assert (told.value.file, told.value.line) == ("maps", 2)


def test_the_other_place_is_told_with_its_file_where_that_is_another() -> None:
    one, other = (mapped("198.51.100.1", f"2001:db8::{n}", line=n) for n in (1, 2))
    says = "198.51.100.1 stands for 2001:db8::1 already"
    for file, where in (("maps", " (line 1)"), ("more", " (maps:1)"), (None, " (maps:1)")):
        other.file = file
        with pytest.raises(ConfigError) as told:
            Maps([one, other])
        assert told.value.message == f"{says}{where}"
    one.line = None
    with pytest.raises(ConfigError) as told:
        Maps([one, other])
    assert told.value.message == says


@pytest.mark.parametrize(
    ("networks", "joined"),
    [
        ("198.51.100.0/25 198.51.100.128/25", "198.51.100.0/24"),
        ("198.51.100.0/25 198.51.101.0/25", "198.51.100.0/25 198.51.101.0/25"),
        ("198.51.100.128/25 198.51.101.0/25", "198.51.100.128/25 198.51.101.0/25"),
        ("198.51.100.0/25 198.51.100.128/26", "198.51.100.0/25 198.51.100.128/26"),
        ("198.51.100.1 198.51.100.2 198.51.100.3", "198.51.100.1/32 198.51.100.2/31"),
    ],
)
def test_networks_are_joined_where_nothing_is_added(networks: str, joined: str) -> None:
    maps = Maps(
        mapped(one, f"2001:db8:{number}::/96", direction="in")
        for number, one in enumerate(networks.split())
    )
    assert maps.networks == tuple(map(v4, joined.split()))


def test_a_map_as_text() -> None:
    for words in (
        "198.51.100.1 2001:db8::1",
        "198.51.100.0/28 2001:db8::/124 protocols=tcp,icmp direction=out",
        "198.51.100.1 2001:db8::1 protocols=udp ports=53 to_port=5353",
        "198.51.100.1 2001:db8::1 ports=80,8000-8100 direction=both",
    ):
        one, other, *rest = words.split()
        options: dict[str, Any] = dict(word.split("=") for word in rest)
        to_port = int(options.pop("to_port")) if "to_port" in options else None
        assert str(mapped(one, other, to_port=to_port, **options)) == words


# -- against a model -----------------------------------------------------------------------------

HOSTS = 6
"""Bits in which the addresses differ: few, so that they meet."""
NET4 = int(IPv4Address("198.51.100.0"))
NET6 = [int(IPv6Address(text)) for text in ("2001:db8::", "2001:db8:0:1::")]

all_ports = st.none()
port_lists = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=3).map(
    lambda pairs: Ports((first, first + more) for first, more in pairs)
)


@st.composite
def one_map(draw: st.DrawFn) -> Map:
    length4 = draw(st.integers(32 - HOSTS, 32))
    spare = draw(st.integers(0, 3))
    length6 = 96 + length4 - spare
    network4 = NET4 | draw(st.integers(0, 2**HOSTS - 1)) >> 32 - length4 << 32 - length4
    low = draw(st.integers(0, 2**HOSTS - 1)) >> 128 - length6 << 128 - length6
    ports = draw(all_ports | port_lists)
    choice = PROTOCOLS if ports is None else (TCP, UDP)
    directions = DIRECTIONS if ports is None else ("both", "in")
    to_port = draw(st.none() | st.integers(1, 9)) if ports and len(ports) == 1 else None
    return Map(
        (network4, length4),
        (draw(st.sampled_from(NET6)) | low, length6),
        ports,
        to_port,
        draw(st.none() | st.frozensets(st.sampled_from(choice), min_size=1)),
        draw(st.sampled_from([None, *directions])),
    )


def contradict(one: Map, other: Map) -> bool:
    if not one.protocols & other.protocols:
        return False
    if one.from_v4 and other.from_v4 and one.v4 == other.v4:
        if one.ports is None and other.ports is None:
            return True
        if one.ports and other.ports and one.ports & other.ports:
            return True
    if one.from_v6 and other.from_v6 and one.v6 == other.v6:
        return one.v4 != other.v4 or one == other
    return False


def agreeing(maps: list[Map]) -> list[Map]:
    """Return the maps that contradict none before them."""
    kept: list[Map] = []
    for one in maps:
        if not any(contradict(one, other) for other in kept):
            kept.append(one)
    return kept


def translated(address: int, bits: int, one: tuple[int, int], other: tuple[int, int]) -> int:
    """RFC 7757 §3.3, step by step, on strings of bits."""
    target = 160 - bits
    buffer = format(address, f"0{bits}b")[one[1] :]
    buffer = format(other[0], f"0{target}b")[: other[1]] + buffer
    return int(buffer.ljust(target, "0")[:target], 2)


def holds(network: tuple[int, int], address: int, bits: int) -> bool:
    return format(address, f"0{bits}b").startswith(format(network[0], f"0{bits}b")[: network[1]])


@given(
    st.lists(one_map(), max_size=12).map(agreeing),
    st.integers(0, 2 ** (HOSTS + 1) - 1),
    st.sampled_from(PROTOCOLS),
    st.integers(0, 9),
)
def test_to_v6_is_what_the_model_says(maps: list[Map], low: int, protocol: str, port: int) -> None:
    address = NET4 + low
    fitting = [
        one
        for one in maps
        if one.from_v4
        and protocol in one.protocols
        and (one.ports is None or port in one.ports)
        and holds(one.v4, address, 32)
    ]
    expected = None
    if fitting:
        best = max(fitting, key=lambda one: (one.v4[1], one.ports is not None))
        expected = translated(address, 32, best.v4, best.v6), best.to_port or port
    assert Maps(maps).to_v6(address, protocol, port) == expected


@given(
    st.lists(one_map(), max_size=12).map(agreeing),
    st.sampled_from(NET6),
    st.integers(0, 2 ** (HOSTS + 1) - 1),
    st.sampled_from(PROTOCOLS),
)
def test_to_v4_is_what_the_model_says(maps: list[Map], net: int, low: int, protocol: str) -> None:
    address = net + low
    fitting = [
        one
        for one in maps
        if one.from_v6 and protocol in one.protocols and holds(one.v6, address, 128)
    ]
    expected = None
    if fitting:
        best = max(fitting, key=lambda one: one.v6[1])
        expected = translated(address, 128, best.v6, best.v4)
    assert Maps(maps).to_v4(address, protocol) == expected


@given(st.lists(one_map(), max_size=6))
def test_what_contradicts_another_is_refused_and_nothing_else(maps: list[Map]) -> None:
    if any(contradict(*pair) for pair in combinations(maps, 2)):
        with pytest.raises(ConfigError, match="already"):
            Maps(maps)
    else:
        assert list(Maps(maps)) == maps


@given(st.lists(one_map(), max_size=12).map(agreeing))
def test_networks_are_the_fewest_of_the_same_addresses(maps: list[Map]) -> None:
    expected = collapse_addresses(IPv4Network(one.v4) for one in maps)
    assert Maps(maps).networks == tuple(v4(str(network)) for network in expected)


@given(one_map(), st.integers(0, 2**HOSTS - 1))
def test_there_and_back(one: Map, low: int) -> None:
    address = one.v4[0] | low & (1 << 32 - one.v4[1]) - 1
    assert holds(one.v6, one.to_v6(address), 128)
    assert one.to_v4(one.to_v6(address)) == address


# -- changes in place, against tables built anew -------------------------------------------------

ADDRESSES4 = [NET4 + low for low in range(0, 2 ** (HOSTS + 1), 3)]
ADDRESSES6 = [net + low for net in NET6 for low in range(0, 2 ** (HOSTS + 1), 3)]

changes = st.lists(
    st.tuples(
        st.integers(0, 9),  # the version to change
        st.lists(st.integers(0, 11), max_size=3),  # of its maps, those that go
        st.lists(one_map(), max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@contextmanager
def in_place() -> Iterator[None]:
    """Have every change made in place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_table, "IN_PLACE", 0)
        yield


def answers(maps: Maps) -> list[object]:
    """Return what a table says of all addresses."""
    protocols = [(protocol, port) for protocol in PROTOCOLS for port in (0, 3, 7)]
    return [
        *(maps.to_v6(v4, protocol, port) for v4 in ADDRESSES4 for protocol, port in protocols),
        *(maps.find(v4, protocol, port) for v4 in ADDRESSES4 for protocol, port in protocols),
        *(maps.to_v4(v6, protocol) for v6 in ADDRESSES6 for protocol in PROTOCOLS),
    ]


def refused(make: Callable[[], Maps]) -> tuple[Maps | None, str]:
    """Return the table that *make* returns, or None and why it is refused."""
    try:
        return make(), ""
    except ConfigError as error:
        return None, str(error)


@given(st.lists(one_map(), max_size=12).map(agreeing), changes)
@in_place()
def test_every_version_of_a_changed_table_is_as_one_built_anew(
    first: list[Map], steps: list[tuple[int, list[int], list[Map]]]
) -> None:
    versions = [(Maps(first), first)]
    for which, places, new in steps:
        before, maps = versions[which % len(versions)]
        gone = [maps[place] for place in places if place < len(maps)]
        after = [one for one in maps if one not in gone] + new
        changed, why = refused(lambda: before.changed(gone, new))  # noqa: B023
        anew, says = refused(lambda: Maps(after))  # noqa: B023
        assert (changed is None) == (anew is None), (why, says)
        if changed is not None:
            versions.append((changed, after))
        for version, expected in versions:
            built = Maps(expected)
            assert version == built
            assert len(version) == len(expected)
            assert set(version) == set(expected)
            assert version.networks == built.networks
            assert answers(version) == answers(built)
    for version, maps in versions:
        for other, others in versions:
            assert set(version.difference(other)) == set(maps) - set(others)
            assert (version == other) == (set(maps) == set(others))
            assert all((one in other) == (one in others) for one in maps)


@in_place()
def test_a_refused_change_leaves_no_trace() -> None:
    maps = [mapped(f"198.51.100.{host}", f"2001:db8::{host}") for host in range(1, 9)]
    table = Maps(maps)
    fine, clashing = mapped("198.51.100.9", "2001:db8::9"), mapped("198.51.100.7", "2001:db8::a")
    with pytest.raises(ConfigError, match=r"198\.51\.100\.7 stands for 2001:db8::7 already"):
        table.changed(maps[:2], [fine, clashing])
    with pytest.raises(ConfigError, match="the same map is there already"):
        table.changed(maps[:2], [fine, fine])
    assert list(table) == maps
    assert goes_to(table, "198.51.100.9") is None
    assert [goes_to(table, f"198.51.100.{host}") for host in (1, 2)] == [
        "2001:db8::1 80",
        "2001:db8::2 80",
    ]


@in_place()
def test_a_map_of_some_protocols_leaves_the_table_of_the_others() -> None:
    table = Maps([mapped("198.51.100.1", "2001:db8::1")])
    after = table.changed([], [mapped("198.51.100.2", "2001:db8::2", protocols=TCP)])
    assert goes_to(after, "198.51.100.2", TCP) == "2001:db8::2 80"
    assert goes_to(after, "198.51.100.2", UDP) is None
    again = after.changed([], [mapped("198.51.100.2", "2001:db8::3", protocols=UDP)])
    assert goes_to(again, "198.51.100.2", UDP) == "2001:db8::3 80"
    assert goes_to(after, "198.51.100.2", UDP) is None


@in_place()
def test_the_file_of_a_map_is_that_of_its_version() -> None:
    there = mapped("198.51.100.1", "2001:db8::1")
    there.file = None
    saved = mapped("198.51.100.1", "2001:db8::1")
    before = Maps([there, mapped("198.51.100.2", "2001:db8::2")])
    after = before.changed([there], [saved])
    assert before == after
    assert [one.file for one in before if one == there] == [None]
    assert [one.file for one in after if one == there] == ["maps"]
    kept = before.get(saved)
    assert kept is there
    assert after.get(there) is saved
    back = before.changed([], [mapped("198.51.100.3", "2001:db8::3")])
    assert back.get(saved) is there


def test_versions_that_nobody_has_are_forgotten() -> None:
    table = first = Maps(mapped(f"198.51.100.{host}", f"2001:db8::{host}") for host in range(1, 99))
    one = mapped("198.51.100.99", "2001:db8::99")
    for _ in range(5):
        table = table.changed([], [one]).changed([one], [])
    assert {*map(id, table._shared.versions.values())} == {id(first), id(table)}
    assert (table._missing, first._missing, first._extra) == ({}, {}, {})


def test_a_large_change_makes_a_table_of_its_own() -> None:
    few = Maps([mapped("198.51.100.1", "2001:db8::1")])
    more = [mapped(f"198.51.100.{host}", f"2001:db8::{host}") for host in range(2, 9)]
    many = few.changed([], more)
    assert many._shared is not few._shared
    assert (len(few), len(many)) == (1, 8)
    last = mapped("198.51.100.9", "2001:db8::9")
    assert many.changed([], [last])._shared is many._shared
    assert many.changed(more[:1], [last])._shared is many._shared
    assert many.changed(more[:2], [last])._shared is not many._shared


def test_the_same_map_of_one_direction_is_refused_wherever_it_stands() -> None:
    tcp = mapped("198.51.100.1", "2001:db8::1", protocols=TCP, direction="out", line=1)
    both = mapped("198.51.100.1", "2001:db8::1", protocols="tcp,udp", direction="out", line=2)
    again = mapped("198.51.100.1", "2001:db8::1", protocols=TCP, direction="out", line=3)
    with pytest.raises(ConfigError, match=r"the same map is there already \(line 1\)"):
        Maps([tcp, both, again])
