"""Readers of configuration values: each turns a TOML value into a checked one, or raises
ConfigError."""

from __future__ import annotations

import pwd
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from faith.errors import ConfigError, meant, raise_all
from faith.kernel.text_file import read_leniently

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.daemon.config.tables import Reader

T = TypeVar("T")

NONE = "none"
"""The word for no path."""

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


def path_or_none(value: Any) -> Path | None:
    """Read an absolute path, or ``"none"`` or false for none."""
    if value is False or value == NONE:
        return None
    try:
        return path(value)
    except ConfigError as error:
        raise ConfigError(f"{error.message}, or {NONE}") from None


def user(name: str) -> str:
    """Return the *name* of a user of this system.  Raises ConfigError."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        near = meant(name, _local_users())
        raise ConfigError(f"there is no user {name!r} on this system{near}") from None
    return name


def _local_users() -> list[str]:
    """Return the users of passwd(5); others, in directories, may be many and far away."""
    try:
        return [line.partition(":")[0] for line in read_leniently("/etc/passwd").split("\n")]
    except OSError:
        return []


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
            raise ConfigError(f"{word!r} is not one of {', '.join(of)}{meant(word, of)}")
        return word

    return read


def parsed(parse: Callable[[str], T]) -> Reader[T]:
    """Return a reader of texts in the form that *parse* accepts."""
    return lambda value: parse(text(value))


def address4(written: str) -> int:
    """Return an IPv4 address as a number.  Raises ConfigError."""
    try:
        return int(IPv4Address(written))
    except ValueError:
        raise ConfigError(f"{written!r} is not an IPv4 address") from None


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
