"""The forms of addresses, compared with ipaddress."""

from __future__ import annotations

import ast
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.translation import address as module
from faith.translation.address import (
    family_of,
    from_packed,
    number,
    packed,
    packed4,
    packed6,
    text,
    text4,
    text6,
)

v4s = st.ip_addresses(v=4)
# The C library writes ::ffff:0:0/96 and ::/96 with dots, as RFC 5952 section 5 has it; ipaddress
# does so for the first since Python 3.13.
v6s = st.ip_addresses(v=6).filter(lambda address: int(address) >> 48)
addresses = v4s | st.ip_addresses(v=6)
words = st.text() | st.text("0123456789abcdef.:%/ ", max_size=40)


@given(addresses)
def test_every_form_leads_to_every_other(one: IPv4Address | IPv6Address) -> None:
    assert number(str(one)) == from_packed(one.packed) == int(one)
    assert packed(str(one)) == one.packed
    assert ip_address(text(one.packed)) == one
    assert number(text(one.packed)) == int(one)


@given(v4s)
def test_an_ipv4_address(one: IPv4Address) -> None:
    assert packed4(int(one)) == one.packed
    assert text4(int(one)) == text(one.packed) == str(one)
    assert family_of(str(one)) == socket.AF_INET


@given(v6s)
def test_an_ipv6_address(one: IPv6Address) -> None:
    assert packed6(int(one)) == one.packed
    assert text6(int(one)) == text(one.packed) == str(one)
    assert family_of(str(one)) == socket.AF_INET6


@given(st.ip_addresses(v=6), st.sampled_from(["eth0", "7", "%", ""]))
def test_a_zone_is_left_out(one: IPv6Address, zone: str) -> None:
    assert number(f"{one}%{zone}") == int(one)
    assert packed(f"{one}%{zone}") == one.packed


def test_a_network_has_its_length_and_a_host_none() -> None:
    assert [text4(0xC6336400, length) for length in (24, 32)] == ["198.51.100.0/24", "198.51.100.0"]
    assert [text6(1, length) for length in (0, 128)] == ["::1/0", "::1"]
    assert text6(0xFFFF_C000_0207) == "::ffff:192.0.2.7"


@given(words)
def test_anything_else_is_refused(word: str) -> None:
    """The parsers take what ipaddress takes, but for a zone, and nothing else."""
    host = word.partition("%")[0] if ":" in word else word
    try:
        known = ip_address(host)
    except ValueError:
        for parse in (number, packed):
            with pytest.raises((OSError, ValueError)):
                parse(word)
    else:
        assert number(word) == int(known)


@pytest.mark.parametrize("word", ["", "1", "192.0.2", "192.0.2.1 ", "192.0.2.256", "::1/64", "::g"])
def test_shorthand_is_refused(word: str) -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        packed(word)


@pytest.mark.parametrize("octets", [b"", bytes(3), bytes(5), bytes(17)])
def test_octets_that_are_no_address_are_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="invalid length of packed IP address"):
        text(octets)


@pytest.mark.parametrize("convert", [packed4, packed6, text4, text6])
@pytest.mark.parametrize("beyond", [-1, 1 << 128])
def test_a_number_without_an_address_is_refused(convert: object, beyond: int) -> None:
    assert callable(convert)
    with pytest.raises(OverflowError):
        convert(beyond)


def test_it_imports_no_socket() -> None:
    """Only pure functions and numbers: translation has no input and no output."""
    (imported,) = [
        [alias.name for alias in node.names]
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module == "_socket"
    ]
    assert imported == ["AF_INET", "AF_INET6", "inet_ntoa", "inet_ntop", "inet_pton"]


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:0:0", "::ffff:0:0"),
        ("::192.0.2.1", "::192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_ipv4_mapped_text_is_that_of_ipv4(address: str, plain: str) -> None:
    assert module.unmapped(address) == plain
