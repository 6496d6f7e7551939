"""Prefix discovery: RFC 8880 §7.1, read by a client as RFC 7050 §3 has it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import dns.flags
import dns.rdatatype
import pytest

from faith.dns.ipv4only import ADDRESSES, NAME, answer
from faith.dns.wire import NOERROR, NXDOMAIN
from faith.translation.prefix import RFC6052, Prefix
from tests.dns.messages import lines, name, query, question, read

NSP = Prefix.parse("2001:db8:ffff::/96")
WELL_KNOWN = Prefix.parse("64:ff9b::/96")


def test_the_name_and_its_addresses() -> None:
    assert name("ipv4only.arpa.") == NAME
    assert [str(IPv4Address(v4)) for v4 in ADDRESSES] == ["192.0.0.170", "192.0.0.171"]


@pytest.mark.parametrize("owner", ["ipv4only.arpa.", "IPv4Only.ARPA."])
def test_rfc8880_7_1_item_4_a(owner: str) -> None:
    found = answer(question(owner, "A"), [NSP])
    assert found
    assert [line.split()[3:] for line in lines(found)] == [
        ["A", "192.0.0.170"],
        ["A", "192.0.0.171"],
    ]


@pytest.mark.parametrize("prefixes", [[NSP], [WELL_KNOWN], [NSP, WELL_KNOWN]])
def test_rfc8880_7_1_item_4_aaaa_a_pair_for_every_prefix(prefixes: list[Prefix]) -> None:
    found = answer(question("ipv4only.arpa."), prefixes)
    assert found
    assert [int(IPv6Address(line.split()[4])) for line in lines(found)] == [
        prefix.map(v4) for prefix in prefixes for v4 in ADDRESSES
    ]


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
def test_rfc7050_3_the_prefix_can_be_found_in_it(length: int) -> None:
    prefix = Prefix(0x20010DB8 << 96, length, RFC6052)
    found = answer(question("ipv4only.arpa."), [prefix])
    assert found
    mapped = [int(IPv6Address(line.split()[4])) for line in lines(found)]
    assert [prefix.unmap(v6) for v6 in mapped] == list(ADDRESSES)


@pytest.mark.parametrize("kind", ["MX", "TXT", "SOA", "NS", "PTR", "ANY", "DNSKEY"])
def test_rfc8880_7_1_item_4_no_other_data(kind: str) -> None:
    found = answer(question("ipv4only.arpa.", kind), [NSP])
    assert found
    assert (found.rcode, lines(found)) == (NOERROR, [])
    (soa,) = read(found.message).authority
    assert soa.name.to_text() == "ipv4only.arpa."
    assert found.lifetime > 0


def test_rfc8880_7_1_item_4_ds_is_resolved_the_usual_way() -> None:
    assert answer(question("ipv4only.arpa.", "DS"), [NSP]) is None


@pytest.mark.parametrize("owner", ["www.ipv4only.arpa.", "a.b.ipv4only.arpa.", "A.Ipv4only.arpa."])
@pytest.mark.parametrize("kind", ["A", "AAAA", "DS", "TXT"])
def test_rfc8880_7_1_item_4_nothing_exists_below(owner: str, kind: str) -> None:
    found = answer(question(owner, kind), [NSP])
    assert found
    assert found.rcode == NXDOMAIN
    (soa,) = read(found.message).authority
    assert soa.name.to_text().lower() == "ipv4only.arpa."


@pytest.mark.parametrize("owner", ["arpa.", "xipv4only.arpa.", r"x\008ipv4only.arpa.", "example."])
def test_other_names_are_none_of_ours(owner: str) -> None:
    assert answer(question(owner), [NSP]) is None


def test_another_class_is_none_of_ours() -> None:
    assert answer(question("ipv4only.arpa.", klass="CH"), [NSP]) is None


def test_rfc8880_7_1_item_4_a_plain_forwarder_asks_its_server() -> None:
    assert answer(question("ipv4only.arpa."), []) is None


def test_rfc8880_7_1_item_4_the_answer_is_authoritative() -> None:
    asked = query("ipv4only.arpa.")
    found = answer(asked.question, [NSP])
    assert found
    message = read(found.reply(asked, found.tail(0), 512))
    assert message.flags & dns.flags.AA
    assert message.question[0].rdtype == dns.rdatatype.AAAA
