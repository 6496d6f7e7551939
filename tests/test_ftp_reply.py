"""Replies of one line and of several."""

from __future__ import annotations

from faith.ftp.reply import ReplyLine, ReplyReader
from faith.ftp.telnet import Line


def read(text: str) -> list[ReplyLine]:
    """The lines of *text*, each without a line end."""
    reader = ReplyReader()
    return [reader.read(Line(line.encode() + b"\r\n")) for line in text.splitlines()]


def outline(text: str) -> list[tuple[int, bool, bool]]:
    """Code, start and end of each line."""
    return [(line.code, line.starts, line.ends) for line in read(text)]


def test_one_line_each() -> None:
    assert outline("220 Hello\n331\n230 In\n") == [
        (220, True, True),
        (331, True, True),
        (230, True, True),
    ]


def test_rfc_959_section_4_2_several_lines() -> None:
    assert outline(
        "123-First line\n"
        "Second line\n"
        "  234 A line beginning with numbers\n"
        "123 The last line\n"
        "200 Next\n"
    ) == [
        (123, True, False),
        (123, False, False),
        (123, False, False),
        (123, False, True),
        (200, True, True),
    ]


def test_only_its_own_code_and_a_blank_end_it() -> None:
    assert outline("211-Features\n211-EPSV\n200 no\n211.\n211") == [
        (211, True, False),
        (211, False, False),
        (211, False, False),
        (211, False, False),
        (211, False, True),
    ]


def test_what_is_no_reply() -> None:
    assert outline("ld.so: a warning\n\n22\n999 no\n099 no\n2200 no\n220 Hello") == [
        *[(0, False, False)] * 6,
        (220, True, True),
    ]


def test_a_preliminary_reply_completes_nothing() -> None:
    assert [line.completes for line in read("150-Here\n150 it comes\n226 Done")] == [
        False,
        False,
        True,
    ]


def test_pieces_of_a_long_line() -> None:
    reader = ReplyReader()
    first = reader.read(Line(b"226 x", ends=False))
    middle = reader.read(Line(b"226 x", starts=False, ends=False))
    last = reader.read(Line(b"226-x\r\n", starts=False))
    assert [(line.code, line.starts, line.ends) for line in (first, middle, last)] == [
        (226, True, False),
        (226, False, False),
        (226, False, True),
    ]
    assert [line.fresh for line in (first, middle, last)] == [True, False, False]
    assert reader.read(Line(b"200 Next\r\n")).starts


def test_a_code_may_be_followed_by_a_tab_or_by_nothing() -> None:
    assert outline("200\tok\n200ok\n200\n200-ok\n200\tok") == [
        (200, True, True),
        (200, True, True),
        (200, True, True),
        (200, True, False),
        (200, False, True),
    ]


def test_another_code_may_be_the_end() -> None:
    reader = ReplyReader()
    seen = []
    for text in (b"230-Hello", b"1.5 GB", b"200 files", b"  for you", b"231 In", b"230-no"):
        reader.read(Line(text + b"\r\n"))
        seen.append(reader.may_be_over)
    assert seen == [False, False, True, False, True, False]


def test_once_it_is_closed_another_one_begins() -> None:
    reader = ReplyReader()
    reader.read(Line(b"230-Hello\r\n"))
    reader.read(Line(b"231 In\r\n"))
    reader.close()
    assert not reader.may_be_over
    assert reader.read(Line(b"200 Good\r\n")).starts
