"""TOML read to its end: every mistake of its syntax with its line, its meaning and what to do."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from faith.daemon.config.line_numbers import lines
from faith.errors import ConfigError, raise_all
from faith.translation.typography import explain

if TYPE_CHECKING:
    from faith.daemon.config.line_numbers import Place

MOST = 20
"""Mistakes that are reported at a time."""

_AT = re.compile(r"(.*) \(at line (\d+), column \d+\)", re.DOTALL)
_PAIR = re.compile(r"\s*([\w.-]+)\s*([=:])\s*(.*?)\s*(?:#.*)?", re.ASCII)
_HEADER = re.compile(r"\s*\[\[?\s*([\w.-]+)", re.ASCII)
_FLAGS = {"true", "yes", "on", "false", "no", "off"}
_HINTS = {
    "Illegal character '\\n'": "the closing quote is missing",
    "Unclosed array": "a comma is missing before this line, or a ] at the end",
    "Unescaped '\\' in a string": "write \\\\ for a backslash, or put the text in single quotes",
    "Expected ']' at the end of a table declaration": "the closing ] is missing",
}


def parse(text: str, name: str) -> tuple[dict[str, Any], str, list[ConfigError]]:
    """Return the values in *text*, the text that has them, and the mistakes in the file *name*.

    A key whose line is wrong is left out of the values, as a comment.  Raises ConfigError where
    nothing more can be made of the text.
    """
    errors: list[ConfigError] = []
    while True:
        try:
            return tomllib.loads(text), text, errors
        except tomllib.TOMLDecodeError as error:
            said = _AT.fullmatch(str(error))
            message, number = (said[1], int(said[2])) if said else (str(error), None)
            rows = text.split("\n")
            row = rows[number - 1] if number else ""
            about = explain(_meaning(message, rows, number), row)
            errors.append(ConfigError(about, name, number))
            if not number or not _can_be_left_out(row) or len(errors) >= MOST:
                raise_all(errors)
            rows[number - 1 if number else 0] = f"#{row}"
            text = "\n".join(rows)


def _can_be_left_out(row: str) -> bool:
    """Return whether *row* is a whole statement: a key with a value that ends there."""
    pair = _PAIR.fullmatch(row)
    if not pair or '"""' in row or "'''" in row:
        return False
    return all(row.count(opening) == row.count(closing) for opening, closing in ("[]", "{}"))


def _meaning(message: str, rows: list[str], number: int | None) -> str:
    """Return the parser's *message* about line *number* with what it probably means."""
    if number is None:
        return f"{message}: something that was begun is not closed, a bracket or a quote"
    row = rows[number - 1]
    pair, header = _PAIR.fullmatch(row), _HEADER.match(row)
    if message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return _twice(message, rows, number)
    hint = _HINTS.get(message)
    if hint is None and pair:
        hint = _about_value(*pair.groups())
    elif hint is None and not header and "=" not in row:
        hint = "a line is [table], key = value, or a comment after #"
    return f"{message}: {hint}" if hint else message


def _about_value(key: str, sign: str, value: str) -> str | None:
    if sign == ":":
        return f"write {key} = ..."
    if not value:
        return f"there is nothing after {key} ="
    if value.lower() in _FLAGS:
        return "write true or false"
    if value.endswith((";", ",")):
        return f"delete the {value[-1]} at its end"
    if value[0].isascii() and value[0] not in "\"'[{":
        return f'a text needs quotes: {key} = "{value}"' if '"' not in value else None
    return None


def _twice(message: str, rows: list[str], number: int) -> str:
    """Return the error message for a key or a table that is there already."""
    row, before = rows[number - 1], lines("\n".join(rows[: number - 1]))
    if header := _HEADER.match(row):
        where = _line(before, tuple(header[1].split(".")))
        there = rows[where - 1].partition("#")[0].strip() if where else header[0]
        return f"{there} is there already, on line {where}; put the keys of both under one"
    if pair := _PAIR.fullmatch(row):
        headers = [index for index in range(number - 1) if _HEADER.match(rows[index])]
        table = _table(before, headers[-1] + 1) if headers else ()
        where = _line(before, (*table, *pair[1].split(".")))
        return f"{pair[1]}: it is there already, on line {where}; delete one of the two"
    return message


def _table(before: dict[Place, int], number: int) -> Place:
    return max((place for place, line in before.items() if line == number), key=len, default=())


def _line(before: dict[Place, int], place: Place) -> int | None:
    while place and place not in before:
        place = place[:-1]
    return before.get(place)
