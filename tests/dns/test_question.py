"""What is read in a query, and what is made of those that cannot be served."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns.question import EDNS_LIMIT, PLAIN_LIMIT, Question, Rejected, parse
from faith.dns.wire import AAAA, HEADER, IN, A, WireError
from tests.dns.generated import names
from tests.dns.messages import name, query, query_wire, question, reply_wire

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn


@st.composite
def queries(draw: DrawFn) -> dns.message.QueryMessage:
    edns = draw(st.sampled_from((False, 0)))
    message = dns.message.make_query(
        draw(names),
        draw(st.sampled_from(("A", "AAAA", "PTR", "HTTPS", "TYPE97", "ANY"))),
        use_edns=edns,
        want_dnssec=edns == 0 and edns is not False and draw(st.booleans()),
        payload=draw(st.sampled_from((0, 512, 1232, 1400, 4096, 65535))),
        options=[dns.edns.GenericOption("PADDING", bytes(3))] if draw(st.booleans()) else None,
        id=draw(st.integers(0, 65535)),
    )
    message.flags |= draw(st.sampled_from((0, dns.flags.CD, dns.flags.AD)))
    return message


@given(queries())
def test_a_query_is_read_as_dnspython_means_it(message: dns.message.QueryMessage) -> None:
    found = parse(message.to_wire())
    asked = message.question[0]
    assert found.id == message.id
    assert found.question.name == (asked.name.to_wire() or b"").lower()
    assert (found.question.kind, found.question.klass) == (asked.rdtype, asked.rdclass)
    assert found.question.dnssec_ok == bool(message.ednsflags & dns.flags.DO)
    assert found.question.unchecked == bool(message.flags & dns.flags.CD)
    assert found.edns == (message.edns >= 0)


@given(st.binary(max_size=80) | queries().map(dns.message.Message.to_wire), st.data())
def test_any_octets_are_read_or_refused(message: bytes, data: st.DataObject) -> None:
    if message:
        at = data.draw(st.integers(0, len(message) - 1))
        message = message[:at] + data.draw(st.binary(max_size=2)) + message[at + 1 :]
    with contextlib.suppress(WireError):
        parse(message)


@pytest.mark.parametrize(
    ("payload", "size"), [(0, 512), (511, 512), (800, 800), (1232, 1232), (65535, EDNS_LIMIT)]
)
def test_rfc6891_6_2_3_sizes_below_512_are_512_and_none_is_above_ours(
    payload: int, size: int
) -> None:
    assert query("example.", use_edns=0, payload=payload).size == size


def test_rfc1035_4_2_1_without_edns_512_octets() -> None:
    assert query("example.").size == PLAIN_LIMIT


class TestKey:
    """Which questions have the same answer."""

    def test_case_makes_no_difference(self) -> None:
        assert question("WWW.Example.").key == question("www.example.").key

    def test_but_the_question_is_repeated_as_asked(self) -> None:
        assert question("WWW.Example.").section.startswith(b"\3WWW\7Example\0")

    def test_a_type_is_not_taken_for_letters(self) -> None:
        assert question("a.", "TYPE65").key != question("a.", "TYPE97").key

    def test_do_and_cd_make_one(self) -> None:
        bits = [(do, cd) for do in (False, True) for cd in (False, True)]
        keys = {question("a.", dnssec_ok=do, unchecked=cd).key for do, cd in bits}
        assert len(keys) == 4

    def test_another_type_of_the_same_name(self) -> None:
        asked = question("WWW.Example.", "AAAA", dnssec_ok=True)
        other = asked.of_type(A)
        assert (other.kind, other.klass, other.dnssec_ok) == (A, IN, True)
        assert other.of_type(AAAA).key == asked.key


class TestRefused:
    def refusal(self, message: bytes) -> int:
        with pytest.raises(Rejected) as caught:
            parse(message)
        return caught.value.rcode

    def test_other_opcodes_are_not_implemented(self) -> None:
        message = dns.message.make_query("example.", "SOA")
        message.set_opcode(dns.opcode.NOTIFY)
        assert self.refusal(message.to_wire()) == dns.rcode.NOTIMP

    def test_rfc9619_there_is_one_question(self) -> None:
        both = name("example.") + b"\0\1\0\1"
        assert self.refusal(HEADER.pack(1, 0x100, 2, 0, 0, 0) + both * 2) == dns.rcode.FORMERR
        assert self.refusal(HEADER.pack(1, 0x100, 0, 0, 0, 0)) == dns.rcode.FORMERR

    def test_a_query_has_no_answers(self) -> None:
        message = bytearray(reply_wire("example.", answer="example. 1 IN AAAA ::1"))
        message[2] &= 0x7F
        assert self.refusal(bytes(message)) == dns.rcode.FORMERR

    def test_names_have_255_octets(self) -> None:
        long = b"\x3f" + b"x" * 63
        fits = HEADER.pack(1, 0x100, 1, 0, 0, 0) + long * 3 + b"\x3d" + b"x" * 61 + b"\0"
        assert parse(fits + b"\0\1\0\1").question.kind == A
        assert self.refusal(HEADER.pack(1, 0, 1, 0, 0, 0) + long * 4 + b"\0\0\1\0\1") == 1

    def test_nothing_is_missing(self) -> None:
        assert self.refusal(query_wire("example.")[:-1]) == dns.rcode.FORMERR
        assert self.refusal(query_wire("example.", use_edns=0)[:-1]) == dns.rcode.FORMERR

    @pytest.mark.parametrize("junk", [b"\0", b"junk", bytes(200)])
    def test_but_what_follows_is_nothing(self, junk: bytes) -> None:
        assert parse(query_wire("example.") + junk).question.name == b"\7example\0"
        assert parse(query_wire("example.", use_edns=0, payload=900) + junk).size == 900

    def test_rfc6891_6_1_1_edns_comes_once(self) -> None:
        message = bytearray(query_wire("example.", use_edns=0))
        message[11] = 2
        assert self.refusal(bytes(message) + bytes(message[-11:])) == dns.rcode.FORMERR

    def test_rfc6891_6_1_3_an_unknown_version(self) -> None:
        message = bytearray(query_wire("example.", use_edns=0))
        message[-5] = 1
        assert self.refusal(bytes(message)) == dns.rcode.BADVERS

    @pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
    def test_zones_are_not_handed_on(self, kind: str) -> None:
        assert self.refusal(query_wire("example.", kind)) == dns.rcode.REFUSED

    @pytest.mark.parametrize("kind", ["OPT", "TYPE128", "TKEY", "TSIG", "MAILB", "MAILA"])
    def test_what_no_name_has_is_not_asked_for(self, kind: str) -> None:
        assert self.refusal(query_wire("example.", kind)) == dns.rcode.FORMERR


@pytest.mark.parametrize("message", [b"", bytes(11), reply_wire("example.")])
def test_what_is_no_query_gets_no_answer_at_all(message: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse(message)
    assert not isinstance(caught.value, Rejected)


def test_edns_among_other_records_is_found() -> None:
    message = bytearray(query_wire("example.", use_edns=0, want_dnssec=True))
    message[11] = 2
    other = name("key.") + b"\0\xfa\0\xff" + bytes(6)
    found = parse(bytes(message) + other)
    assert found.edns
    assert found.question.dnssec_ok
    assert isinstance(found.question, Question)
