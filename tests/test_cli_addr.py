from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.cli.addr import convert, dotted
from faith.errors import ConfigError, FaithError
from faith.translation.prefix import LOW32, RFC6052, Prefix

KAME = Prefix.parse("2001:db8:ffff::")


def answers(addresses: list[str], *prefixes: Prefix, in_hex: bool = False) -> list[str]:
    return [pair.answer(in_hex=in_hex) for pair in convert(addresses, prefixes)]


@pytest.mark.parametrize(
    ("prefix", "mapped"),
    [  # RFC 6052 §2.4
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100:0"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ],
)
def test_every_length_of_rfc6052_converts_both_ways(prefix: str, mapped: str) -> None:
    reserved = Prefix.parse(prefix, RFC6052)
    assert answers(["192.0.2.33"], reserved) == [mapped]
    assert answers([mapped], reserved) == ["192.0.2.33"]


@pytest.mark.parametrize("length", [32, 47, 64, 96])
def test_low32_ends_in_the_ipv4_address_at_any_length(length: int) -> None:
    prefix = Prefix.parse(f"2001:db8::/{length}", LOW32)
    assert answers(["192.0.2.80"], prefix) == ["2001:db8::192.0.2.80"]


def test_hexadecimal_is_what_other_programs_print() -> None:
    assert answers(["192.0.2.80"], KAME, in_hex=True) == ["2001:db8:ffff::c000:250"]


def test_an_ipv4_address_is_answered_for_every_prefix_in_their_order() -> None:
    other = Prefix.parse("64:ff9b::/96")
    assert answers(["192.0.2.80", "198.51.100.7"], KAME, other) == [
        "64:ff9b::192.0.2.80",
        "2001:db8:ffff::192.0.2.80",
        "64:ff9b::198.51.100.7",
        "2001:db8:ffff::198.51.100.7",
    ]


def test_an_ipv6_address_is_answered_once_by_the_longest_prefix() -> None:
    outer = Prefix.parse("2001:db8::/32", RFC6052)
    (pair,) = convert(["2001:db8:ffff::c000:250"], [outer, KAME])
    assert pair.fields() == {
        "ipv4": "192.0.2.80",
        "mapped": "2001:db8:ffff::c000:250",
        "prefix": "2001:db8:ffff::/96",
        "layout": "low32",
    }


def test_an_address_under_no_prefix_is_refused_with_the_prefixes() -> None:
    with pytest.raises(FaithError, match=r"2001:db8::5 is not under 2001:db8:ffff::/96"):
        answers(["2001:db8::5"], KAME)


@pytest.mark.parametrize("text", ["www.example.org", "192.0.2", "2001:db8::/96", "", "1.2.3.4.5"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        answers([text], KAME)


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_dotted_notation_is_the_same_address(v6: ipaddress.IPv6Address) -> None:
    assert ipaddress.IPv6Address(dotted(v6)) == v6
    assert dotted(v6).rpartition(":")[2] == str(ipaddress.IPv4Address(int(v6) & 0xFFFFFFFF))
