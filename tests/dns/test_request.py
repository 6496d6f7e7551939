"""What is said to servers, and what counts as an answer to it."""

from __future__ import annotations

import dns.flags
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns.request import Dice, Request
from tests.dns.messages import question, read, reply_wire

WWW = question("www.example.")


def test_it_asks_for_recursion_and_for_the_ad_bit() -> None:
    message = read(Request(WWW).message(4711))
    assert message.id == 4711
    assert message.flags == dns.flags.RD | dns.flags.AD
    assert message.question[0].to_text() == "www.example. IN AAAA"
    assert (message.edns, message.payload, message.ednsflags) == (0, 1232, 0)


def test_do_and_cd_are_the_clients() -> None:
    """CD of our own would let a bogus zone through (RFC 6147 §5.5)."""
    for do in (False, True):
        for cd in (False, True):
            asked = question("www.example.", dnssec_ok=do, unchecked=cd)
            message = read(Request(asked).message(0))
            assert bool(message.flags & dns.flags.CD) is cd
            assert bool(message.ednsflags & dns.flags.DO) is do


def test_rfc5452_9_2_numbers_are_random() -> None:
    dice = Dice()
    drawn = [dice.number() for _ in range(2000)]
    assert len(set(drawn)) > 1900
    assert min(drawn) < 1000
    assert max(drawn) > 64_000


def test_mixed_case_is_in_the_letters_only() -> None:
    asked = question(r"www\000\192-09.example.", "TYPE65")
    sections = {Request(asked, mixed_case=True).section for _ in range(50)}
    assert len(sections) > 40
    for section in sections:
        assert section[:-4].lower() == asked.section[:-4]
        assert section[-4:] == asked.section[-4:]


@given(st.binary(max_size=60))
def test_noise_is_no_reply(noise: bytes) -> None:
    reply = b"\0\0" + noise
    is_bare_error = reply[4:6] == b"\0\0" and reply[2:3] >= b"\x80" and len(reply) >= 12
    assert is_bare_error or not Request(WWW).is_answered_by(reply)


@pytest.mark.parametrize(
    ("owner", "kind", "flags", "accepted"),
    [
        ("www.example.", "AAAA", "QR", True),
        ("WWW.example.", "AAAA", "QR", True),
        ("www.example.", "AAAA", "", False),
        ("www.example.", "A", "QR", False),
        ("xww.example.", "AAAA", "QR", False),
        ("example.", "AAAA", "QR", False),
    ],
)
def test_rfc5452_9_1_a_reply_has_the_question(
    owner: str, kind: str, flags: str, accepted: bool
) -> None:
    assert Request(WWW).is_answered_by(reply_wire(owner, kind, flags=flags)) is accepted


@pytest.mark.parametrize("rcode", ["FORMERR", "SERVFAIL", "NOTIMP", "REFUSED"])
@pytest.mark.parametrize("edns", [b"", b"\0\0\x29\x04\xd0" + bytes(6)])
def test_an_error_may_come_without_it(rcode: str, edns: bytes) -> None:
    wire = reply_wire("www.example.", rcode=rcode)
    error = wire[:4] + bytes([0, 0, 0, 0, 0, 0, 0, bool(edns)]) + edns
    assert Request(WWW).is_answered_by(error)
    assert not Request(WWW).is_answered_by(error[:3] + b"\x80" + error[4:]), "but no answer"


def test_whether_the_case_came_back_is_seen() -> None:
    request = Request(question("a" * 60 + ".example."), mixed_case=True)
    answered = bytearray(request.message(0))
    answered[2] |= 0x80
    assert request.is_answered_by(bytes(answered))
    assert request.repeats_case(bytes(answered))
    lowered = bytes(answered[:12]) + bytes(answered[12:]).lower()
    assert request.is_answered_by(lowered)
    assert not request.repeats_case(lowered)
