"""Readers of configuration values: each turns a TOML value into a checked one, or raises
ConfigError."""

from __future__ import annotations

import difflib
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from faith.errors import ConfigError, raise_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.daemon.config.tables import Reader

T = TypeVar("T")

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    str: "a text in quotes",
    list: "a list in brackets",
}


def text(value: Any) -> str:
    """Read a non-empty text, without NUL: what it names could not be looked up or opened."""
    if not _kind(value, str):
        _refuse(value, "a text that says something")
    if "\0" in value:
        _refuse(value, "a text without NUL")
    return str(value)


def flag(value: Any) -> bool:
    """Read a boolean."""
    return _kind(value, bool)


def path(value: Any) -> Path:
    """Read an absolute path: the daemon changes to ``/``, and reads the file again from there."""
    found = Path(text(value))
    if not found.is_absolute():
        _refuse(value, "an absolute path")
    return found


def seconds(value: Any) -> float:
    """Read a time in seconds, 0 or more."""
    if number(value) >= 1e6:
        _refuse(value, "a number of seconds below a million")
    return float(value)


def number(value: Any) -> float:
    """Read a number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
        _refuse(value, "a number from 0")
    return float(value)


def whole(first: int, last: int) -> Reader[int]:
    """Return a reader of integers from *first* to *last*."""

    def read(value: Any) -> int:
        number = _kind(value, int)
        if not first <= number <= last:
            _refuse(value, f"a number from {first} to {last}")
        return number

    return read


def choice(of: Sequence[str]) -> Reader[str]:
    """Return a reader of one of some words."""

    def read(value: Any) -> str:
        word = text(value)
        if word not in of:
            near = difflib.get_close_matches(word, of, 1)
            meant = f"; is {near[0]} meant?" if near else ""
            raise ConfigError(f"{word!r} is not one of {', '.join(of)}{meant}")
        return word

    return read


def parsed(parse: Callable[[str], T]) -> Reader[T]:
    """Return a reader of texts in the form that *parse* accepts."""
    return lambda value: parse(text(value))


def several(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of lists; an error's *line* is the number of the element, from 1.

    It raises the errors of all elements.
    """

    def read_all(value: Any) -> tuple[T, ...]:
        found, errors = [], []
        for number, element in enumerate(_kind(value, list), 1):
            try:
                found.append(read(element))
            except ConfigError as error:
                errors.append(ConfigError(error.message, line=number))
        raise_all(errors)
        return tuple(found)

    return read_all


def _kind(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        _refuse(value, _KINDS[kind])
    return value


def _refuse(value: Any, wanted: str) -> NoReturn:
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    raise ConfigError(f"{shown} is not {wanted}")
