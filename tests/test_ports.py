"""Port sets as services and ``--open`` spell them."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation.ports import ALL_PORTS, NO_PORTS, Ports


def parse(text: str) -> Ports:
    return Ports.parse(text, socket.getservbyname)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("telnet", ((23, 23),)),
        ("80", ((80, 80),)),
        ("80, 443,8000-8100", ((80, 80), (443, 443), (8000, 8100))),
        ("1-65535", ((1, 65535),)),
        ("80-80", ((80, 80),)),
        ("5-9,7,10", ((5, 10),)),
    ],
)
def test_reads_names_ports_and_ranges(text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert parse(text).ranges == ranges


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not a TCP service"),
        ("nosuchservice", "not a TCP service of this system"),
        ("0", "not between 1 and 65535"),
        ("65536", "not between 1 and 65535"),
        ("99999999999999999999", "not between"),
        ("000080", "not between"),
        ("9-5", "^range 9-5 runs backwards; write 5-9$"),
        ("a\0", r"'a\\x00' is not a TCP service"),
        ("\udce4", r"'\\udce4' is not a TCP service"),
        ("a-1", "'a-1' is not a TCP service"),
        ("80,,81", "'' is not"),
        ("80-", "'80-' is not"),
    ],
)
def test_says_what_it_cannot_read(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text)


def test_udp_has_services_of_its_own() -> None:
    assert Ports.parse("ntp,syslog", socket.getservbyname, "udp").ranges == ((123, 123), (514, 514))
    with pytest.raises(ConfigError, match="'telnet' is not a UDP service of this system"):
        Ports.parse("telnet", socket.getservbyname, "udp")


def test_are_values() -> None:
    assert hash(parse("80,81")) == hash(Ports([(80, 81)]))
    assert repr(parse("80,81")) == "Ports([(80, 81)])"
    assert (parse("80") == "80") is False


def test_none_and_all() -> None:
    assert (len(NO_PORTS), len(ALL_PORTS)) == (0, 65535)
    assert parse("1-65535") == ALL_PORTS


ranges = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda r: (min(r), max(r)))


@given(st.lists(ranges, max_size=8), st.lists(ranges, max_size=8), st.integers(1, 65535))
def test_is_a_set(one: list[tuple[int, int]], other: list[tuple[int, int]], port: int) -> None:
    in_one = any(first <= port <= last for first, last in one)
    in_other = any(first <= port <= last for first, last in other)
    assert (port in Ports(one)) == in_one
    assert (port in Ports(one) & Ports(other)) == (in_one and in_other)
    assert (port in Ports(one) | Ports(other)) == (in_one or in_other)
    assert len(Ports(one)) == len(set(Ports(one)))


@given(st.lists(ranges, min_size=1, max_size=8))
def test_parse_reads_what_str_writes(some: list[tuple[int, int]]) -> None:
    assert parse(str(Ports(some))) == Ports(some)
