from __future__ import annotations

import pytest

from faith.translation.typography import explain, printable


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\u201c80\u201d", '“ (U+201C) is a typographic quotation mark: write "; ” (U+201D) is'),
        ("\u20188\u2019", "\u2018 (U+2018) is a typographic quotation mark: write '"),
        ("80\u201390", "\u2013 (U+2013) is a typographic dash: write -"),
        ("80\u00a0", "(U+00A0) is a no-break space: write a space"),
        ("\ufeffworkers", "(U+FEFF) is an invisible byte order mark: delete it"),
        ("8\u200b0", "(U+200B) is an invisible zero-width space: delete it"),
    ],
)
def test_what_looks_like_something_else_is_explained(text: str, says: str) -> None:
    assert says in explain("no port", text)
    assert explain("no port", text).startswith("no port; ")


def test_only_what_is_there_is_explained_and_once() -> None:
    assert explain("no port", "80-90, 'x'") == "no port"
    assert explain("no port", "ö") == "no port"
    once = explain("no port", "\u201380\u2013")
    assert once.count("U+2013") == 1
    assert explain(once, "\u2013") == once


def test_a_tab_is_explained_where_it_does_not_belong() -> None:
    assert explain("no port", "80\t") == "no port"
    assert explain("no port", "80\t", tabs=True) == "no port; (U+0009) is a tab: delete it"


def test_nothing_controls_a_terminal_or_turns_the_text_round() -> None:
    assert printable("no answer\x1b[2J\r\n\u202eelif\u200b") == "no answer?[2J???elif?"
