"""The PREF64 option: RFC 8781 §4."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation import pref64
from faith.translation.prefix import LOW32, RFC6052, Prefix


@pytest.mark.parametrize(("length", "code"), [(96, 0), (64, 1), (56, 2), (48, 3), (40, 4), (32, 5)])
def test_4_the_length_has_a_code(length: int, code: int) -> None:
    prefix = Prefix(0x20010DB8 << 96, length, RFC6052)
    assert pref64.value(prefix, 0) == bytes([0, code]) + IPv6Address("2001:db8::").packed[:12]


def test_the_type_of_the_option() -> None:
    assert pref64.TYPE == 38, "IANA, IPv6 Neighbor Discovery Option Formats"


def test_the_example_in_the_manual_of_bird() -> None:
    option = pref64.value(Prefix.parse("2001:db8:a:b::/96"), 3600)
    assert option.hex(":") == "0e:10:20:01:0d:b8:00:0a:00:0b:00:00:00:00"


@pytest.mark.parametrize(
    ("text", "lifetime", "octets"),
    [
        ("64:ff9b::/96", 1800, "0708 0064ff9b 00000000 00000000"),
        ("2001:db8:64::/64", 1, "0009 20010db8 00640000 00000000"),
        ("2001:db8:122:300::/56", 0, "0002 20010db8 01220300 00000000"),
        ("2001:db8:122::/48", 1793, "070b 20010db8 01220000 00000000"),
        ("2001:db8:100::/40", 65528, "fffc 20010db8 01000000 00000000"),
        ("2001:db8::/32", 600, "025d 20010db8 00000000 00000000"),
    ],
)
def test_octets_that_wireshark_reads_as_they_are_meant(
    text: str, lifetime: int, octets: str
) -> None:
    """By Wireshark 4.0: scaled lifetimes of 225, 1, 0, 225, 8191 and 75, and these lengths."""
    assert pref64.value(Prefix.parse(text, RFC6052), lifetime) == bytes.fromhex(octets)


@given(st.integers(0, pref64.LONGEST))
def test_4_1_a_lifetime_is_told_in_units_of_eight_seconds(lifetime: int) -> None:
    option = pref64.value(Prefix.parse("64:ff9b::/96"), lifetime)
    told = (int.from_bytes(option[:2], "big") >> 3) * 8
    assert told == pref64.rounded(lifetime)
    assert lifetime <= told < lifetime + 8
    assert told <= pref64.LONGEST


@pytest.mark.parametrize(("lifetime", "rounded"), [(0, 0), (1, 8), (7, 8), (8, 8), (65521, 65528)])
def test_4_1_rounding_is_upwards_and_never_to_zero(lifetime: int, rounded: int) -> None:
    assert pref64.rounded(lifetime) == rounded


@pytest.mark.parametrize(
    ("interval", "lifetime"), [(600, 1800), (1800, 5400), (4, 16), (30000, 65528)]
)
def test_4_1_by_default_it_is_three_intervals(interval: int, lifetime: int) -> None:
    assert pref64.default_lifetime(interval) == lifetime


@pytest.mark.parametrize("lifetime", [-1, 65529, 86400])
def test_other_lifetimes_cannot_be_told(lifetime: int) -> None:
    says = f"^a lifetime of {lifetime} seconds is not between 0 and 65528$"
    with pytest.raises(ConfigError, match=says):
        pref64.value(Prefix.parse("64:ff9b::/96"), lifetime)


@pytest.mark.parametrize("text", ["2001:db8::/64", "2001:db8::/33", "2001:db8::/32"])
def test_hosts_know_no_other_layout(text: str) -> None:
    with pytest.raises(ConfigError, match="rfc6052"):
        pref64.value(Prefix.parse(text, LOW32), 1800)
