"""PTR queries for mapped addresses: RFC 6147 §5.3.1, RFC 8880 §7.2.1."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns import ipv4only, reverse
from faith.dns.wire import NOERROR, NXDOMAIN, SERVFAIL
from faith.translation.prefix import LOW32, RFC6052, Prefix, Prefixes
from tests.dns.messages import lines, name, question, read, reply

if TYPE_CHECKING:
    from faith.dns.reverse import Reverse

PREFIX = Prefix.parse("2001:db8:ffff::/96")
V4 = int(IPv4Address("192.0.2.1"))
V4_NAME = "1.2.0.192.in-addr.arpa."
SOA = "2.0.192.in-addr.arpa. 300 IN SOA ns.example. host.example. 1 3600 1200 604800 {minimum}"


def ptr_name(v6: int) -> str:
    return f"{IPv6Address(v6).reverse_pointer}."


def asked(v4: int = V4, prefix: Prefix = PREFIX) -> Reverse:
    found = reverse.of(question(ptr_name(prefix.map(v4)), "PTR"), Prefixes([prefix]))
    assert found
    return found


@given(st.integers(0, 2**128 - 1))
def test_the_address_in_a_name_is_that_of_rfc3596_2_5(v6: int) -> None:
    assert reverse.address(name(ptr_name(v6))) == v6


@pytest.mark.parametrize(
    "owner",
    [
        V4_NAME,
        "ip6.arpa.",
        ptr_name(0).split(".", 1)[1],
        "0." + ptr_name(0),
        ptr_name(0).replace("ip6.arpa", "ip6.int"),
        "g" + ptr_name(0)[1:],
        "_" + ptr_name(0)[1:],
        "00" + ptr_name(0)[3:],
    ],
)
def test_other_names_have_none(owner: str) -> None:
    assert reverse.address(name(owner)) is None


@given(st.integers(0, 2**32 - 1))
def test_the_name_asked_for_instead_is_that_of_the_ipv4_address(v4: int) -> None:
    wanted = asked(v4).v4_question()
    expected = dns.reversename.from_address(str(IPv4Address(v4)))
    assert dns.name.from_wire(wanted.name, 0)[0] == expected
    assert wanted.key == question(expected.to_text(), "PTR").key


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        *((f"2001:db8::/{length}", RFC6052) for length in (32, 40, 48, 56, 64, 96)),
        ("2001:db8::/64", LOW32),
        ("2001:db8::/33", LOW32),
        ("64:ff9b::/96", RFC6052),
    ],
)
def test_5_3_1_every_layout(text: str, layout: str) -> None:
    prefix = Prefix.parse(text, layout)
    assert asked(V4, prefix).v4 == V4


def test_5_3_1_names_outside_the_prefixes_are_like_any_other() -> None:
    outside = question(ptr_name(0x20010DB8 << 96 | V4), "PTR")
    assert reverse.of(outside, Prefixes([PREFIX])) is None


@pytest.mark.parametrize(
    ("kind", "klass"), [("TXT", "IN"), ("DS", "IN"), ("PTR", "CH"), ("ANY", "CH")]
)
def test_5_3_1_other_types_and_classes_are_like_any_other(kind: str, klass: str) -> None:
    owner = ptr_name(PREFIX.map(V4))
    assert reverse.of(question(owner, kind, klass), Prefixes([PREFIX])) is None


def test_any_is_as_good_as_ptr() -> None:
    found = reverse.of(question(ptr_name(PREFIX.map(V4)), "ANY"), Prefixes([PREFIX]))
    assert found
    named = found.answer(reply(V4_NAME, "PTR", answer=f"{V4_NAME} 60 IN PTR www.example."))
    assert (named.kind, lines(named)) == (
        255,
        [f"{ptr_name(PREFIX.map(V4))} 60 IN PTR www.example."],
    )


def test_5_3_1_the_data_is_that_of_the_ipv4_address() -> None:
    found = asked().answer(reply(V4_NAME, "PTR", answer=f"{V4_NAME} 60 IN PTR www.example."))
    assert lines(found) == [f"{ptr_name(PREFIX.map(V4))} 60 IN PTR www.example."]


def test_5_3_1_a_chain_by_rfc2317_makes_no_difference() -> None:
    chain = f"{V4_NAME} 300 IN CNAME 1.0/25.2.0.192.in-addr.arpa."
    end = "1.0/25.2.0.192.in-addr.arpa. 60 IN PTR www.example."
    found = asked().answer(reply(V4_NAME, "PTR", answer=f"{chain}\n{end}"))
    assert lines(found) == [f"{ptr_name(PREFIX.map(V4))} 60 IN PTR www.example."]


@pytest.mark.parametrize(
    ("rcode", "expected"), [("NXDOMAIN", NXDOMAIN), ("NOERROR", NOERROR), ("SERVFAIL", SERVFAIL)]
)
def test_without_data_the_rcode_is_the_same(rcode: str, expected: int) -> None:
    found = asked().answer(reply(V4_NAME, "PTR", rcode=rcode))
    assert (found.rcode, lines(found)) == (expected, [])


@pytest.mark.parametrize(
    ("text", "layout", "apex"),
    [
        ("2001:db8:ffff::/96", LOW32, "0.0.0.0.0.0.0.0.0.0.0.0.f.f.f.f.8.b.d.0.1.0.0.2.ip6.arpa."),
        ("2001:db8:ffff:100::/56", RFC6052, "1.0.f.f.f.f.8.b.d.0.1.0.0.2.ip6.arpa."),
        ("2001:db8::/33", LOW32, "8.b.d.0.1.0.0.2.ip6.arpa."),
    ],
)
def test_rfc2308_5_a_no_belongs_to_the_zone_of_the_prefix(
    text: str, layout: str, apex: str
) -> None:
    refused = reply(V4_NAME, "PTR", rcode="NXDOMAIN", authority=SOA.format(minimum=77))
    found = asked(V4, Prefix.parse(text, layout)).answer(refused)
    (soa,) = read(found.message).authority
    assert (soa.name.to_text(), soa.ttl, found.lifetime) == (apex, 77, 77)


@pytest.mark.parametrize("v4", ipv4only.ADDRESSES)
def test_rfc8880_7_2_1_the_addresses_of_ipv4only_arpa(v4: int) -> None:
    found = asked(v4).known()
    assert found
    assert [line.split()[3:] for line in lines(found)] == [["PTR", "ipv4only.arpa."]]


def test_rfc8880_7_2_1_all_others_are_asked_for() -> None:
    assert asked().known() is None


@given(st.integers(0, 2**32 - 1))
def test_the_names_of_ipv4_addresses_are_those_of_rfc1035_3_5(v4: int) -> None:
    owner = dns.reversename.from_address(str(IPv4Address(v4))).to_text()
    assert reverse.v4_name(v4) == name(owner)
    assert reverse.v4_address(name(owner)) == v4


@given(st.integers(0, 2**128 - 1))
def test_the_question_for_the_name_of_an_ipv6_address(v6: int) -> None:
    assert reverse.v6_question(v6).section == question(ptr_name(v6), "PTR").section


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
def test_no_name_is_taken_for_an_ipv4_address_that_is_none(labels: list[bytes]) -> None:
    owner = b"".join(bytes([len(label)]) + label for label in labels)
    assert reverse.v4_address(owner + b"\0") is None
    assert reverse.v4_address(owner + reverse.v4_name(0)[8:]) is None
