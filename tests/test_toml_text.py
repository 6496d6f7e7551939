"""Every mistake in the syntax of a file, with its line and what to do."""

from __future__ import annotations

import pytest

from faith.daemon.config import toml_text
from faith.errors import ConfigError


def mistakes(text: str) -> list[tuple[int | None, str]]:
    try:
        _, _, errors = toml_text.parse(text, "faith.toml")
    except ConfigError as error:
        errors = [*error.errors]
    assert {error.file for error in errors} == {"faith.toml"}
    return [(error.line, error.message) for error in errors]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\nuser = root\n", 2, 'a text needs quotes: user = "root"'),
        ("address = 64:ff9b::/96\n", 1, 'a text needs quotes: address = "64:ff9b::/96"'),
        ("mixed_case = True\n", 1, "write true or false"),
        ("mixed_case = yes # or no\n", 1, "write true or false"),
        ("user = “root”\n", 1, '“ (U+201C) is a typographic quotation mark: write "'),
        ("\u00a0workers = 2\n", 1, "(U+00A0) is a no-break space: write a space"),
        ("workers = 2\n\ufeffuser = 'x'\n", 2, "(U+FEFF) is an invisible byte order mark"),
        ("user =\n", 1, "there is nothing after user ="),
        ("user: 'x'\n", 1, "write user = ..."),
        ("user = 'x';\n", 1, "delete the ; at its end"),
        ('user = "x\n', 1, "the closing quote is missing"),
        ('user = "C:\\x"\n', 1, "write \\\\ for a backslash"),
        ('rules = [\n"x"\n"y"]\n', 3, "a comma is missing before this line, or a ]"),
        ('rules = [\n"x",\n', None, "something that was begun is not closed"),
        ("[access\nfile = 'x'\n", 1, "the closing ] is missing"),
        ("workers 2\n", 1, "a line is [table], key = value, or a comment after #"),
        ("workers = 1\n\nworkers = 2\n", 3, "workers: it is there already, on line 1"),
        ("[a]\nx = 1\n[b]\nx = 1\nx = 2\n", 5, "x: it is there already, on line 4"),
        ("[[a]]\nx = 1\n[[a]]\nx = 1\nx = 2\n", 5, "x: it is there already, on line 4"),
        ("[udp]\nidle = 1\n[dns]\n[udp]\n", 4, "[udp] is there already, on line 1; put the keys"),
        ("[[map]]\nv4 = 'x'\n[map]\n", 3, "[[map]] is there already, on line 1"),
        ("[dns]\nworkers = 2\n[[dns]]\n", 3, "[dns] is there already, on line 1"),
    ],
)
def test_a_mistake_has_its_line_and_what_to_do(text: str, line: int | None, says: str) -> None:
    ((found, message),) = mistakes(text)
    assert found == line
    assert says in message


def test_the_lines_after_a_mistake_are_read_too() -> None:
    text = "workers = two\nuser = “root”\n[access]\nfile = '/x'\n[udp]\nidle = yes\nmtu = 1400\n"
    values, shown, errors = toml_text.parse(text, "faith.toml")
    assert values == {"access": {"file": "/x"}, "udp": {"mtu": 1400}}
    assert [error.line for error in errors] == [1, 2, 6]
    assert shown.count("\n") == text.count("\n")


def test_what_is_not_a_whole_line_ends_the_reading() -> None:
    text = "workers = two\n[access\nfile = yes\n"
    assert [line for line, _ in mistakes(text)] == [1, 2]
    text = "workers = two\nrules = [\n'x'\n'y']\nuser = root\n"
    assert [line for line, _ in mistakes(text)] == [1, 4]


def test_no_more_than_a_screenful_is_reported() -> None:
    text = "".join(f"key{number} = no text\n" for number in range(100))
    assert len(mistakes(text)) == toml_text.MOST


def test_a_sound_text_has_no_mistakes() -> None:
    assert toml_text.parse("workers = 2\n", "x") == ({"workers": 2}, "workers = 2\n", [])
