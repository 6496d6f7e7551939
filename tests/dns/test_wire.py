"""The walk over a message, against dnspython's reading of it."""

from __future__ import annotations

import contextlib

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns.wire import (
    HEADER,
    OPT,
    WireError,
    name_end,
    name_on_wire,
    question_end,
    records,
)
from tests.dns.generated import reply_wires
from tests.dns.messages import name, reply_wire

BASE = HEADER.size


@given(reply_wires())
def test_records_are_those_that_dnspython_finds(message: bytes) -> None:
    found = list(records(message, question_end(message)))
    read = dns.message.from_wire(message, one_rr_per_rrset=True)
    assert [
        (record.section, record.kind, record.klass, record.ttl)
        for record in found
        if record.kind != OPT
    ] == [
        (section, rrset.rdtype, rrset.rdclass, rrset.ttl)
        for section, rrsets in enumerate(read.sections[1:])
        for rrset in rrsets
    ]


@given(reply_wires())
def test_records_follow_each_other_to_the_end(message: bytes) -> None:
    at = question_end(message)
    for record in records(message, at):
        assert record.start == at
        assert message[record.ttl_at : record.ttl_at + 4] == record.ttl.to_bytes(4, "big")
        at = record.end
    assert at == len(message)


@given(st.binary(max_size=100) | reply_wires(), st.data())
def test_any_octets_are_walked_or_refused(message: bytes, data: st.DataObject) -> None:
    if message:
        at = data.draw(st.integers(0, len(message) - 1))
        message = message[:at] + data.draw(st.binary(min_size=1, max_size=2)) + message[at + 1 :]
    with contextlib.suppress(WireError):
        list(records(message, question_end(message)))


@given(reply_wires(), st.data())
def test_a_message_cut_short_is_refused(message: bytes, data: st.DataObject) -> None:
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    with pytest.raises(WireError):
        list(records(cut, question_end(cut)))


def test_what_follows_the_last_record_is_nothing() -> None:
    message = reply_wire("example.", answer="example. 1 IN AAAA ::1")
    (record,) = records(message + b"\0", question_end(message))
    assert record.end == len(message)


class TestNames:
    def test_a_name_written_out_ends_behind_its_root(self) -> None:
        assert name_end(name("www.example."), 0) == 13

    def test_a_pointer_ends_a_name(self) -> None:
        message = bytes(BASE) + name("example.") + b"\3www\xc0\x0c"
        start = BASE + 9
        assert name_end(message, start) == len(message)

    @pytest.mark.parametrize(
        "octets",
        [
            b"\xc0\x0c",  # to itself
            b"\1a\xc0\x0c",  # to its own beginning
            b"\xc0\x20",  # forwards
            b"\xc0\x04",  # into the header
            b"\xc0",
            b"\3ww",
            b"\3www",
            b"\x40a\0",  # a label type that RFC 6891 §5 has withdrawn
            b"",
        ],
    )
    def test_what_no_name_may_be(self, octets: bytes) -> None:
        with pytest.raises(WireError):
            name_end(bytes(BASE) + octets, BASE)


@pytest.mark.parametrize(
    "message",
    [
        bytes(11),
        HEADER.pack(0, 0, 0, 0, 0, 0),
        HEADER.pack(0, 0, 2, 0, 0, 0) + b"\0\0\1\0\1\0\0\1\0\1",
        HEADER.pack(0, 0, 1, 0, 0, 0) + b"\0\0\1\0",
    ],
)
def test_one_whole_question_is_needed(message: bytes) -> None:
    with pytest.raises(WireError):
        question_end(message)


class TestWrittenNames:
    @pytest.mark.parametrize(
        ("written", "octets"),
        [
            ("www.example", b"\3www\7example\0"),
            ("www.example.", b"\3www\7example\0"),
            (".", b"\0"),
            ("a" * 63, b"\x3f" + b"a" * 63 + b"\0"),
        ],
    )
    def test_on_the_wire(self, written: str, octets: bytes) -> None:
        assert name_on_wire(written) == octets

    @pytest.mark.parametrize(
        "written", ["", "a..b", ".a", "a" * 64, "ä.example", ".".join(["a" * 63] * 4)]
    )
    def test_what_is_no_name_is_refused(self, written: str) -> None:
        with pytest.raises(WireError):
            name_on_wire(written)
