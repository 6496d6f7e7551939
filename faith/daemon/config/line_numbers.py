"""The line numbers of keys in a TOML text, which tomllib does not report."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str | int, ...]
"""The place of a value: keys, and indices (from 0) into arrays."""

_CLOSINGS = ("]", '"""', "'''")
"""Endings that complete the first lines of a statement of several lines."""


def lines(text: str) -> dict[Place, int]:
    """Return the lines, counted from 1, of the tables, keys and array elements in a
    valid *text*."""
    found: dict[Place, int] = {}
    table: Place = ()
    sizes: Counter[Place] = Counter()
    for number, statement, parsed in _statements(text):
        if statement.lstrip().startswith("["):
            table = _table(parsed, sizes)
            found.setdefault(table, number)
            if isinstance(table[-1], int):
                found.setdefault(table[:-1], number)
        else:
            _note(found, table, parsed, number)
    return found


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Return for every line its number, the statement up to it, and what that statement says.

    A statement has ended where its text so far is TOML by itself.  An unfinished one is parsed as
    if it were closed there.
    """
    statement = ""
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        parsed = _parsed(statement)
        if parsed is not None:
            yield number, statement, parsed
            statement = ""
        else:
            closed = (_parsed(statement + closing) for closing in _CLOSINGS)
            yield number, statement, next(filter(None, closed), {})


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _table(header: Any, sizes: Counter[Place]) -> Place:
    """Return the place of the table that *header* begins, in arrays the last one; *sizes* are
    counted."""
    place: Place = ()
    while header:
        ((key, header),) = header.items()
        place = (*place, key)
        if isinstance(header, list):
            sizes[place] += 1
            (header,) = header
        if sizes[place]:
            place = (*place, sizes[place] - 1)
    return place


def _note(found: dict[Place, int], place: Place, value: Any, number: int) -> None:
    """Record the line of everything in *value* that had none in an earlier line."""
    if place:
        found.setdefault(place, number)
    if isinstance(value, dict):
        for key, inner in value.items():
            _note(found, (*place, key), inner, number)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _note(found, (*place, position), inner, number)
