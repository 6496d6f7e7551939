"""Prefixes and mapped addresses: RFC 6052 §2 and RFC 3142 §3."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.errors import ConfigError
from faith.translation.prefix import LAYOUTS, LOW32, RFC6052, Prefix, Prefixes

# RFC 6052 §2.4, tables 1 and 2.
TABLE = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
]


@pytest.mark.parametrize(("prefix", "address"), TABLE)
def test_rfc6052_section_2_4(prefix: str, address: str) -> None:
    reserved = Prefix.parse(prefix, RFC6052)
    v4, v6 = int(IPv4Address("192.0.2.33")), int(IPv6Address(address))
    assert reserved.map(v4) == v6
    assert reserved.unmap(v6) == v4
    assert v6 in reserved


@pytest.mark.parametrize("length", [1, 32, 48, 63, 64, 95, 96])
def test_low32_is_the_lowermost_32_bits_at_any_length(length: int) -> None:
    reserved = Prefix(0x2001 << 112 >> (128 - length) << (128 - length), length, LOW32)
    v4 = int(IPv4Address("10.1.1.1"))
    assert reserved.map(v4) & 0xFFFFFFFF == v4
    assert reserved.unmap(reserved.map(v4) | 0xABCD << 32) == v4


def test_kame_newsletter_example() -> None:
    reserved = Prefix.parse("3ffe:501:9999:ffff::")
    assert str(reserved) == "3ffe:501:9999:ffff::/96"
    assert IPv6Address(reserved.map(int(IPv4Address("163.221.202.12")))) == IPv6Address(
        "3ffe:501:9999:ffff::163.221.202.12"
    )


lengths = st.sampled_from([32, 40, 48, 56, 64, 96])
addresses4 = st.integers(0, 2**32 - 1)
addresses6 = st.integers(0, 2**128 - 1)


def network(address: int, length: int) -> int:
    """An address that is a unicast network of that length with a zero u octet."""
    return address >> (128 - length) << (128 - length) & ~(0xFF << 120) & ~(0xFF << 56)


@given(addresses6, lengths, addresses4, st.sampled_from([LOW32, RFC6052]))
def test_map_and_unmap_are_inverse(base: int, length: int, v4: int, layout: str) -> None:
    reserved = Prefix(network(base, length), length, layout)
    v6 = reserved.map(v4)
    assert v6 in reserved
    assert reserved.unmap(v6) == v4


@given(addresses6, lengths, addresses4)
def test_bits_64_to_71_are_zero(base: int, length: int, v4: int) -> None:
    assert Prefix(network(base, length), length, RFC6052).map(v4) >> 56 & 0xFF == 0


@given(addresses6, lengths, addresses4, st.integers(0, 2**64 - 1))
def test_suffix_is_ignored_when_reading(base: int, length: int, v4: int, noise: int) -> None:
    reserved = Prefix(network(base, length), length, RFC6052)
    bits = max(0, 128 - length - 32 - 8)
    v6 = reserved.map(v4) | noise & ((1 << bits) - 1 if length < 96 else 0)
    assert reserved.unmap(v6) == v4


@pytest.mark.parametrize(
    ("text", "layout", "says"),
    [
        ("192.0.2.0/24", LOW32, "that is IPv4"),
        ("192.0.2.1", LOW32, "that is IPv4"),
        ("hello", LOW32, "not an IPv6 prefix"),
        ("2001:db8::/97", LOW32, "1 to 96 bits"),
        ("2001:db8::/0", LOW32, "^2001:db8::/0: a prefix is 1 to 96 bits"),
        ("2001:db8::/x", LOW32, "^2001:db8::/x: 'x' is not a prefix length$"),
        ("2001:db8::/", LOW32, "not a prefix length"),
        ("2001:db8::/-1", LOW32, "not a prefix length"),
        (
            "2001:db8::1/96",
            LOW32,
            "^2001:db8::1/96: host bits are set; did you mean 2001:db8::/96?",
        ),
        (
            "2001:db8::/95",
            RFC6052,
            "^2001:db8::/95: layout rfc6052 has lengths 32, 40, 48, 56, 64 and 96",
        ),
        ("2001:db8::/96", "jool", "not one of low32, rfc6052"),
        ("2001:db8::ff00:0:0:0/96", RFC6052, "^2001:db8:0:0:ff00::/96: bits 64 to 71"),
        ("ff05::/96", LOW32, "^ff05::/96: a multicast"),
        ("fe80::%eth0/96", LOW32, "zone"),
    ],
)
def test_what_cannot_be_a_prefix_is_refused(text: str, layout: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        Prefix.parse(text, layout)


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64])
def test_nobody_guesses_where_the_layouts_differ(length: int) -> None:
    text = f"2001:db8::/{length}"
    with pytest.raises(ConfigError) as told:
        Prefix.parse(text)
    assert str(told.value).startswith(
        f"{text} needs a layout: rfc6052 (RFC 6052 §2.2: CLATs, DNS64"
    )
    assert "low32, the last 32 bits (RFC 3142, KAME" in str(told.value)
    assert {Prefix.parse(text, layout).layout for layout in LAYOUTS} == set(LAYOUTS)


@pytest.mark.parametrize("text", ["2001:db8::", "2001:db8::/96", "2001:db8::/95", "fc00::/7"])
def test_elsewhere_there_is_nothing_to_guess(text: str) -> None:
    """At 96 bits the two are the same; other lengths are those of low32 alone."""
    assert Prefix.parse(text).layout == LOW32


@given(addresses6, lengths)
def test_parse_reads_what_str_writes(base: int, length: int) -> None:
    reserved = Prefix(network(base, length), length, RFC6052)
    assert Prefix.parse(str(reserved), RFC6052) == reserved
    assert str(reserved) == str(IPv6Network((reserved.address, length)))


def test_overlap() -> None:
    wide, narrow = Prefix.parse("2001:db8::/32", LOW32), Prefix.parse("2001:db8:1::/96")
    assert wide.overlaps(narrow)
    assert narrow.overlaps(wide)
    assert not narrow.overlaps(Prefix.parse("2001:db8:2::/96"))


def test_longest_prefix_wins() -> None:
    wide, narrow = Prefix.parse("2001:db8::/32", LOW32), Prefix.parse("2001:db8:1::/96")
    both = Prefixes([wide, narrow])
    assert both.find(narrow.map(1)) == narrow
    assert both.find(int(IPv6Address("2001:db8:2::1"))) == wide
    assert both.find(int(IPv6Address("2001:db9::1"))) is None
    assert Prefixes([narrow, wide]) == both
    assert len(both) == 2


def test_well_known_in_either_layout() -> None:
    assert Prefix.parse("64:ff9b::/96").well_known
    assert Prefix.parse("64:ff9b::", RFC6052).well_known
    assert not Prefix.parse("64:ff9b:1::/96").well_known
    assert not Prefix.parse("64:ff9b::/64", LOW32).well_known


def test_are_values() -> None:
    one, other = Prefix.parse("2001:db8::/96"), Prefix.parse("2001:db8::/96", RFC6052)
    assert eval(repr(one)) == one
    assert one != other
    assert one != Prefix.parse("2001:db8::/95")
    assert (one == str(one)) is False
    assert Prefixes([one]) != Prefixes([other])
    assert (Prefixes([one]) == (one,)) is False
    assert hash(Prefixes([one, other])) == hash(Prefixes([other, one, one]))
