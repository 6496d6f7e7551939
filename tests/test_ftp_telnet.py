"""Octets into lines: Telnet's own taken out, every bound kept."""

from __future__ import annotations

import json

import pytest

from faith.ftp.telnet import LIMIT, Item, Line, Reader, Refusal, Signal


def read(*data: bytes, urgent: int | None = None) -> list[Item]:
    """What becomes of *data*, of which the piece numbered *urgent* ends in an urgent octet."""
    reader = Reader()
    items: list[Item] = []
    for number, piece in enumerate(data):
        reader.feed(piece, number == urgent)
        items += iter(reader.next, None)
    return items


def lines(*data: bytes) -> list[bytes]:
    return [item.data for item in read(*data) if isinstance(item, Line)]


class TestLines:
    def test_a_line_ends_with_a_line_feed(self) -> None:
        assert lines(b"USER a\r\nPASS b\nQU") == [b"USER a\r\n", b"PASS b\n"]

    def test_the_split_makes_no_difference(self) -> None:
        data = b"USER a\r\n\xff\xfd\x06\xff\xf4\xff\xf2ABOR\r\n\xff\xffx\r\n"
        assert read(*(bytes([octet]) for octet in data)) == read(data)

    def test_cr_nul_lf_is_within_a_line(self) -> None:
        assert lines(b"STOR foo\r\0\nboo.bar\r\n") == [b"STOR foo\r\0\nboo.bar\r\n"]

    def test_a_long_line_comes_in_pieces(self) -> None:
        long = b"x" * (2 * LIMIT + 10) + b"\r\n"
        assert read(long + b"NOOP\r\n") == [
            Line(b"x" * LIMIT, ends=False),
            Line(b"x" * LIMIT, starts=False, ends=False),
            Line(b"x" * 10 + b"\r\n", starts=False),
            Line(b"NOOP\r\n"),
        ]

    def test_a_line_of_the_limit_is_whole(self) -> None:
        line = b"x" * (LIMIT - 1) + b"\n"
        assert read(line) == [Line(line)]

    def test_an_unfinished_line_is_all_that_is_kept(self) -> None:
        reader = Reader()
        for _ in range(3 * LIMIT):
            reader.feed(b"x")
            reader.next()
            assert len(reader) < LIMIT


DIFFICULT = (
    b"USER \xe4\r\n\xff\xfd\x06\xff\xf4\xff\xfa\x1f\xff\xff\xff\xf0\xff\xf2ABOR\r\n\xff\xffx\r\ny"
)


@pytest.mark.parametrize("place", range(len(DIFFICULT) + 1))
@pytest.mark.parametrize("is_read", [False, True])
def test_it_goes_on_in_another_reader_wherever_it_stopped(place: int, is_read: bool) -> None:
    whole, first, second = Reader(), Reader(), Reader()
    for reader in (whole, first):
        reader.feed(DIFFICULT[:place], urgent=True)
    items = list(iter(first.next, None)) if is_read else []
    second.restore(json.loads(json.dumps(first.state())))
    assert (second.state(), len(second)) == (first.state(), len(first))
    for reader in (whole, second):
        reader.feed(DIFFICULT[place:])
        reader.end()
    assert [*items, *iter(second.next, None)] == list(iter(whole.next, None))
    assert second.is_over


class TestNegotiation:
    @pytest.mark.parametrize(
        ("attempt", "answer"), [(b"\xfb", b"\xfe"), (b"\xfd", b"\xfc")], ids=["WILL", "DO"]
    )
    def test_an_attempt_is_refused(self, attempt: bytes, answer: bytes) -> None:
        assert read(b"NO\xff" + attempt + b"\x18OP\r\n") == [
            Refusal(b"\xff" + answer + b"\x18"),
            Line(b"NOOP\r\n"),
        ]

    @pytest.mark.parametrize("verb", [b"\xfc", b"\xfe"], ids=["WONT", "DONT"])
    def test_a_refusal_is_heard_in_silence(self, verb: bytes) -> None:
        assert read(b"\xff" + verb + b"\x18NOOP\r\n") == [Line(b"NOOP\r\n")]

    def test_the_option_may_be_any_octet(self) -> None:
        assert read(b"\xff\xfd\n\xff\xfb\xffNOOP\r\n") == [
            Refusal(b"\xff\xfc\n"),
            Refusal(b"\xff\xfe\xff"),
            Line(b"NOOP\r\n"),
        ]

    def test_a_subnegotiation_is_skipped(self) -> None:
        assert lines(b"NO\xff\xfa\x1f\0\x50\n\xff\xff\xff\xf1\xff\xf0OP\r\n") == [b"NOOP\r\n"]

    def test_a_subnegotiation_without_end_is_not_kept(self) -> None:
        reader = Reader()
        reader.feed(b"\xff\xfa" + b"x" * LIMIT * 4)
        assert reader.next() is None
        assert len(reader) == 0

    @pytest.mark.parametrize("code", [0xF0, 0xF1, 0xF3, *range(0xF5, 0xFA)])
    def test_other_commands_are_dropped(self, code: int) -> None:
        assert lines(b"NO\xff" + bytes([code]) + b"OP\r\n") == [b"NOOP\r\n"]


class TestLetter255:
    def test_doubled_it_stays_doubled(self) -> None:
        assert lines(b"RETR \xff\xff\r\n") == [b"RETR \xff\xff\r\n"]

    def test_alone_it_is_a_letter(self) -> None:
        assert lines(b"RETR \xffx\xff\r\n", b"RETR \xff", b"\n") == [
            b"RETR \xffx\xff\r\n",
            b"RETR \xff\n",
        ]


class TestUrgent:
    def test_the_synch_of_bsd_marks_the_second_iac(self) -> None:
        assert read(b"\xff\xf4\xff", b"\xf2ABOR\r\n", urgent=0) == [
            Signal(((b"\xff\xf4", False),)),
            Signal(((b"\xff", True), (b"\xf2", False))),
            Line(b"ABOR\r\n"),
        ]

    def test_the_synch_of_rfc_854_marks_dm(self) -> None:
        assert read(b"\xff\xf4\xff\xf2", b"ABOR\r\n", urgent=0) == [
            Signal(((b"\xff\xf4", False),)),
            Signal(((b"\xff\xf2", True),)),
            Line(b"ABOR\r\n"),
        ]

    @pytest.mark.parametrize(
        "data",
        [
            (b"ABOR\r\n",),
            (b"AB", b"OR\r\n"),
            (b"\xff", b"\xf1ABOR\r\n"),
            (b"\xff\xfc\x18", b"ABOR\r\n"),
            (b"\xff\xfaxy", b"z\xff\xf0ABOR\r\n"),
            (b"\xff\xfaxy\xff\xf0", b"ABOR\r\n"),
        ],
    )
    def test_elsewhere_the_line_is_marked(self, data: tuple[bytes, ...]) -> None:
        assert read(*data, b"NOOP\r\n", urgent=0) == [
            Line(b"ABOR\r\n", urgent=True),
            Line(b"NOOP\r\n"),
        ]

    def test_of_two_marks_that_wait_the_later_is_kept(self) -> None:
        reader = Reader()
        reader.feed(b"STAT\r\n", urgent=True)
        reader.feed(b"ABOR\r\n", urgent=True)
        assert list(iter(reader.next, None)) == [
            Line(b"STAT\r\n"),
            Line(b"ABOR\r\n", urgent=True),
        ]

    def test_no_octet_is_no_urgent_octet(self) -> None:
        reader = Reader()
        reader.feed(b"", urgent=True)
        reader.feed(b"NOOP\r\n")
        assert reader.next() == Line(b"NOOP\r\n")


def test_the_rest_is_what_was_fed() -> None:
    reader = Reader()
    reader.feed(b"AUTH TLS\r\n\x16\x03\xff\xf4", urgent=True)
    reader.feed(b"\n\xff")
    assert reader.next() == Line(b"AUTH TLS\r\n")
    assert reader.rest() == [(b"\x16\x03\xff\xf4", True), (b"\n\xff", False)]
    assert reader.rest() == []


class TestTheEnd:
    def ended(self, data: bytes, *, urgent: bool = False) -> list[Item]:
        reader = Reader()
        reader.feed(data, urgent)
        items = list(iter(reader.next, None))
        assert not reader.is_over
        reader.end()
        items += iter(reader.next, None)
        assert reader.is_over
        return items

    def test_what_has_no_line_end_is_a_line(self) -> None:
        assert self.ended(b"220 Hello\r\n421 Bye") == [Line(b"220 Hello\r\n"), Line(b"421 Bye")]

    def test_nothing_is_no_line(self) -> None:
        assert self.ended(b"QUIT\r\n") == [Line(b"QUIT\r\n")]

    def test_the_rest_of_a_long_line_is_no_line_of_its_own(self) -> None:
        assert self.ended(b"x" * LIMIT + b"y") == [
            Line(b"x" * LIMIT, ends=False),
            Line(b"y", starts=False),
        ]

    def test_an_iac_is_the_letter_that_it_is(self) -> None:
        assert self.ended(b"QUIT\xff", urgent=True) == [Line(b"QUIT\xff", urgent=True)]

    @pytest.mark.parametrize("half", [b"\xff\xfd", b"\xff\xfa\x18xy", b"\xff\xfa\x18\xff"])
    def test_half_a_negotiation_is_nothing(self, half: bytes) -> None:
        assert self.ended(b"QUIT" + half) == [Line(b"QUIT")]

    def test_it_may_come_before_the_reading(self) -> None:
        reader = Reader()
        reader.feed(b"QUIT")
        reader.end()
        assert not reader.is_over
        assert reader.next() == Line(b"QUIT")
        assert reader.is_over
