"""Whoever decodes a declared type gets a ValueError for every other form, by any msgspec."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import faith
from faith.daemon.observe.checked_decoding import checked

MODULES = sorted(Path(faith.__path__[0]).rglob("*.py"))
THEIRS = re.compile(r"\b(?:msgspec.DecodeError|MsgspecError|ValidationError)\b")
"""Errors that nobody meets: all are ValueErrors."""
DECODING = re.compile(r"Decoder\(\w|json\.decode\(|msgspec\.convert\b")


def test_values_pass() -> None:
    assert checked(msgspec.json.Decoder(list[int]).decode)("[1]") == [1]
    assert checked(msgspec.convert)("1", int, strict=False) == 1


@pytest.mark.parametrize("text", ["", "{", "[1", '["a"]', "{}"])
def test_another_form_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        checked(msgspec.json.Decoder(list[int]).decode)(text)
    assert type(raised.value) is ValueError, "which msgspec's own is not, before 0.21"


def test_errors_of_others_pass() -> None:
    with pytest.raises(TypeError):
        checked(msgspec.json.Decoder(list[int]).decode)(7)  # type: ignore[arg-type]


def test_nothing_is_decoded_in_another_way() -> None:
    for path in MODULES:
        lines = [line for line in path.read_text().splitlines() if DECODING.search(line)]
        assert [line for line in lines if "checked(" not in line] == [], path
        assert path.name == "checked_decoding.py" or not THEIRS.search(path.read_text()), path
