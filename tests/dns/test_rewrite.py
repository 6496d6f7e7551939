"""A replies turned into AAAA replies: on the octets and by dnspython, with the same result."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import Mock

import dns.rdataclass
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faith.dns import objects
from faith.dns.answer import from_reply
from faith.dns.rewrite import to_aaaa
from faith.dns.wire import AAAA, AD, WireError
from faith.translation.prefix import RFC6052, Prefix
from tests.dns.generated import reply_wires
from tests.dns.messages import lines, read, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.answer import Answer

ONE = [Prefix.parse("2001:db8:ffff::/96")]
TWO = [*ONE, Prefix.parse("2001:db8:122:344::/64", RFC6052)]


def under(prefixes: list[Prefix]) -> Callable[[int], list[bytes]]:
    return lambda v4: [prefix.map(v4).to_bytes(16, "big") for prefix in prefixes]


def without_ten(v4: int) -> list[bytes]:
    return [] if v4 >> 24 == 10 else under(TWO)(v4)


@pytest.fixture
def slow_way_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> bytes:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(objects, "synthesised", unexpected)


@example(  # a name in the additional section goes on in that of a record that is left out
    b"\0\0\x81\x80\0\1\0\1\0\0\0\1\3www\0\0\1\0\1"
    b"\3www\xc0\x0c\0\1\0\1\0\0\0\0\0\4\xc0\0\2\1"
    b"\xc0\x15\0\1\0\1\0\0\0\0\0\4\xc0\0\2\1",
    lambda _: [],
    600,
)
@given(
    reply_wires("A"),
    st.sampled_from([under(ONE), under(TWO), without_ten, lambda _: []]),
    st.sampled_from([0, 60, 600, 86400]),
)
def test_both_ways_say_the_same(
    wire: bytes, addresses: Callable[[int], list[bytes]], ttl_limit: int
) -> None:
    given_reply = from_reply(wire)
    found = read(to_aaaa(given_reply, addresses, ttl_limit).message)
    expected = read(objects.synthesised(given_reply.message, addresses, ttl_limit))
    assert found.flags == expected.flags
    assert found.question == expected.question
    for section, other in zip(found.sections, expected.sections, strict=True):
        assert [rrset.to_text() for rrset in section] == [rrset.to_text() for rrset in other]


def aaaa(answer: Answer, *prefixes: Prefix, ttl_limit: int = 600) -> list[str]:
    return lines(to_aaaa(answer, under(list(prefixes or ONE)), ttl_limit))


@pytest.mark.usefixtures("slow_way_closed")
class TestPlain:
    """Replies as most resolvers give them are rewritten on the octets."""

    def test_one_address(self) -> None:
        found = to_aaaa(reply("a.", "A", answer="a. 60 IN A 192.0.2.1"), under(ONE), 600)
        assert found.kind == AAAA
        assert lines(found) == ["a. 60 IN AAAA 2001:db8:ffff::c000:201"]

    def test_a_chain_and_several_addresses(self) -> None:
        answer = (
            "www.example. 300 IN CNAME cdn.example.\ncdn.example. 60 IN A 192.0.2.1\n"
            "cdn.example. 60 IN A 192.0.2.2"
        )
        assert aaaa(reply("www.example.", "A", answer=answer)) == [
            "www.example. 300 IN CNAME cdn.example.",
            "cdn.example. 60 IN AAAA 2001:db8:ffff::c000:201",
            "cdn.example. 60 IN AAAA 2001:db8:ffff::c000:202",
        ]

    def test_several_prefixes(self) -> None:
        assert aaaa(reply("a.", "A", answer="a. 60 IN A 192.0.2.33"), *TWO) == [
            "a. 60 IN AAAA 2001:db8:ffff::c000:221",
            "a. 60 IN AAAA 2001:db8:122:344:c0:2:2100:0",
        ]

    def test_rfc6147_5_4_authority_and_additional_stay(self) -> None:
        found = read(
            to_aaaa(
                reply(
                    "www.example.",
                    "A",
                    answer="www.example. 60 IN A 192.0.2.1",
                    authority="example. 60 IN NS ns.other.",
                    additional="example. 60 IN A 192.0.2.53",
                ),
                under(ONE),
                600,
            ).message
        )
        assert [rrset.to_text() for rrset in found.authority] == ["example. 60 IN NS ns.other."]
        assert [rrset.to_text() for rrset in found.additional] == ["example. 60 IN A 192.0.2.53"]

    def test_names_that_go_on_in_what_moves_are_led_there(self) -> None:
        """As in replies of servers with authority: a zone, its servers and their addresses."""
        parts = {
            "answer": "www.example. 60 IN A 192.0.2.1\nwww.example. 60 IN A 192.0.2.2",
            "authority": "example. 60 IN NS ns1.far.\nexample. 60 IN NS ns2.far.",
            "additional": "ns1.far. 60 IN A 192.0.2.53\nns2.far. 60 IN AAAA 2001:db8::53",
        }
        found = read(to_aaaa(reply("www.example.", "A", **parts), under(TWO), 600).message)
        assert len(found.answer[0]) == 4
        for section in ("authority", "additional"):
            lines_of = [line for each in found.sections for line in map(str, each)]
            for line in parts[section].splitlines():
                assert line in "\n".join(lines_of)


@pytest.mark.parametrize(
    "parts",
    [
        # A pointer past it, to a place that no pointer reaches when it has moved.
        {
            "answer": "\n".join(f"a.example. 60 IN A 10.0.{n >> 8}.{n & 255}" for n in range(900)),
            "authority": "example. 60 IN NS ns.far.\nx. 60 IN NS ns.far.",
        },
        {"additional": "mail.example. 60 IN MX 10 a.example."},  # data that may hold one
    ],
)
def test_replies_that_cannot_grow_take_the_slow_way(
    parts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Mock(wraps=objects.synthesised)
    monkeypatch.setattr(objects, "synthesised", slow)
    parts = {"answer": "a.example. 60 IN A 10.0.0.0", **parts}
    assert "a.example. 60 IN AAAA 2001:db8:ffff::a00:0" in aaaa(reply("a.example.", "A", **parts))
    slow.assert_called_once()


@pytest.mark.parametrize("authority", ["", "example. 60 IN MX 10 a.example."])
def test_what_gets_longer_than_a_message_is_refused(authority: str) -> None:
    """A signature or the like makes no difference: both ways find out."""
    answer = "\n".join(f"a.example. 60 IN A 192.0.{n >> 8}.{n & 255}" for n in range(3000))
    given_reply = reply("a.example.", "A", answer=answer, authority=authority)
    with pytest.raises(WireError):
        aaaa(given_reply, *[Prefix.parse(f"2001:db8:{n:x}::/96") for n in range(24)])


def test_signatures_on_what_is_replaced_go_and_others_stay() -> None:
    signature = "IN RRSIG {} 13 2 300 20300101000000 20200101000000 1 example. AAAA"
    given_reply = reply(
        "www.example.",
        "A",
        answer=f"""www.example. 300 IN CNAME a.example.
            www.example. 300 {signature.format("CNAME")}
            a.example. 60 IN A 192.0.2.1
            a.example. 60 {signature.format("A")}""",
        flags="QR RA AD",
    )
    found = to_aaaa(given_reply, under(ONE), 600)
    kinds = [line.split()[3:5] for line in lines(found)]
    assert kinds[:2] == [["CNAME", "a.example."], ["RRSIG", "CNAME"]]
    assert kinds[2:] == [["AAAA", "2001:db8:ffff::c000:201"]]
    assert not found.flags & AD


def test_synthetic_data_is_never_vouched_for() -> None:
    vouched = reply("a.", "A", answer="a. 60 IN A 192.0.2.1", flags="QR RA AD")
    assert vouched.flags & AD
    assert not to_aaaa(vouched, under(ONE), 600).flags & AD


def test_another_class_is_left_alone() -> None:
    given_reply = reply("a.", "A", answer="a. 60 IN A 192.0.2.1\na. 60 CH TXT x")
    found = read(to_aaaa(given_reply, under(ONE), 600).message)
    assert {rrset.rdclass for rrset in found.answer} == {dns.rdataclass.IN, dns.rdataclass.CH}
