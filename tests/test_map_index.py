"""The indices of static maps by themselves; tests/test_map_table.py compares whole tables."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from faith.errors import ConfigError
from faith.translation.map import ICMP, PROTOCOLS, TCP, UDP, Map
from faith.translation.map_index import FromV4, FromV6, by_protocol, clash
from faith.translation.ports import Ports

ONE4, ONE6 = int(IPv4Address("198.51.100.1")), int(IPv6Address("2001:db8::1"))


def mapped(host: int, *ports: int, length: int = 0, **options: Any) -> Map:
    """Return a map of a host, or of the networks that are *length* bits shorter."""
    v4 = ONE4 - 1 + host >> length << length, 32 - length
    v6 = ONE6 - 1 + host >> length << length, 128 - length
    return Map(v4, v6, Ports((port, port) for port in ports) if ports else None, **options)


def both(*ports: int, **options: Any) -> Map:
    return mapped(1, *ports, direction="both", **options)


def test_from_v4_tells_all_that_match_in_the_order_of_their_rank() -> None:
    host, web, network, other = mapped(1), mapped(1, 80), mapped(0, length=4), mapped(2)
    index = FromV4([network, other, host, web])
    assert list(index.matches(ONE4, 80)) == [web, host, network]
    assert list(index.matches(ONE4, 81)) == [host, network]
    assert list(index.matches(ONE4 + 2, 80)) == [network]
    assert list(index.matches(ONE4 + 16, 80)) == []
    assert sorted([network, web, host], key=index.rank) == [network, host, web]


@pytest.mark.parametrize(
    ("one", "fits"),
    [
        (mapped(1), True),
        (mapped(2), False),
        (mapped(0, length=1), True),
        (mapped(2, length=1), False),
        (mapped(1, 79, 80), True),
        (mapped(1, 79, 81), False),
        (mapped(1, direction="out"), False),
    ],
)
def test_what_from_v4_finds_fits(one: Map, fits: bool) -> None:
    assert FromV4.fits(one, ONE4, 80) is fits


def test_from_v4_changes_in_place() -> None:
    host, web, mail, network = mapped(1), mapped(1, 80), mapped(1, 25), mapped(0, length=4)
    index = FromV4([host])
    for one in (network, web, mail):
        index.add(one)
    assert list(index.matches(ONE4, 80)) == [web, host, network]
    assert index.find(ONE4, 25) is mail
    index.remove(web)
    index.remove(network)
    assert list(index.matches(ONE4, 80)) == [host]
    assert index.find(ONE4, 25) is mail
    index.remove(mail)
    index.remove(host)
    assert index.find(ONE4, 25) is None
    index.add(web)
    assert index.find(ONE4, 80) is web


def test_from_v4_refuses_what_contradicts_and_adds_nothing() -> None:
    index = FromV4([mapped(1, 80), mapped(1)])
    for one in (mapped(1, 79, 80, to_port=None), Map((ONE4, 32), (ONE6 + 1, 128))):
        with pytest.raises(ConfigError, match=r"198\.51\.100\.1.* stands for 2001:db8::1 already"):
            index.add(one)
    assert list(index.matches(ONE4, 79)) == [mapped(1)]


def test_from_v6_keeps_the_maps_that_share_an_address() -> None:
    several = [both(), both(80), both(25)]
    index = FromV6(several[:1])
    for one in several[1:]:
        index.add(one)
    assert list(index.matches(ONE6)) == several == list(FromV6(several).matches(ONE6))
    for gone in (several[2], several[0], several[1]):
        found = index.find(ONE6)
        assert found is not None
        assert found.to_v4(ONE6) == ONE4
        index.remove(gone)
    assert index.find(ONE6) is None
    assert list(index.matches(ONE6)) == []


def test_from_v6_refuses_another_ipv4_address() -> None:
    one, other = both(), Map((ONE4 + 1, 32), (ONE6, 128))
    index = FromV6([one])
    with pytest.raises(
        ConfigError, match=r"2001:db8::1 goes out as 198\.51\.100\.1 already; is .* in meant"
    ):
        index.add(other)
    assert list(index.matches(ONE6)) == [one]
    index.remove(one)
    index.add(other)
    assert index.find(ONE6) is other


def test_the_longest_match_of_from_v6_is_first() -> None:
    host, network = mapped(1), mapped(0, length=4)
    index = FromV6([host])
    index.add(network)
    for each in (index, FromV6([network, host])):
        assert list(each.matches(ONE6)) == [host, network]
    assert list(index.matches(ONE6 + 1)) == [network]
    assert max([network, host], key=index.rank) is host
    assert [index.fits(host, ONE6 + low) for low in (0, 1)] == [True, False]
    assert [index.fits(network, ONE6 + low) for low in (14, 15)] == [True, False]
    assert not index.fits(mapped(1, 80), ONE6)


def test_a_copy_is_changed_apart() -> None:
    one, web, more = both(), both(80), mapped(2)
    v4, v6 = FromV4([one, web]), FromV6([one, web])
    other4, other6 = v4.copy(), v6.copy()
    for index in (other4, other6):
        index.add(more)
        index.remove(web)
    assert list(v4.matches(ONE4, 80)) == [web, one]
    assert list(other4.matches(ONE4, 80)) == [one]
    assert list(v6.matches(ONE6)) == [one, web]
    assert list(other6.matches(ONE6)) == [one]
    assert (v4.find(ONE4 + 1, 80), v6.find(ONE6 + 1)) == (None, None)
    assert (other4.find(ONE4 + 1, 80), other6.find(ONE6 + 1)) == (more, more)


def test_protocols_with_the_same_maps_share_an_index() -> None:
    found = by_protocol(FromV4, [mapped(1), mapped(2, 80)])
    assert [*found] == [*PROTOCOLS]
    assert found[TCP] is found[UDP] is not found[ICMP]
    assert found[ICMP].find(ONE4 + 1, 80) is None
    assert found[TCP].find(ONE4 + 1, 80) == mapped(2, 80)


def test_a_map_clashes_with_its_like() -> None:
    one, other = mapped(1, line=7, file="maps"), mapped(1, line=2, file="maps")
    assert str(clash(one, other)) == "maps:7: the same map is there already (line 2)"
    other.file = "more"
    assert str(clash(one, other)) == "maps:7: the same map is there already (more:2)"
