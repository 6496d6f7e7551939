"""Strict access to a TOML file: every error names file and line, and suggests what was meant."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from faith.daemon.config.line_numbers import Place, lines
from faith.errors import ConfigError

T = TypeVar("T")
Reader = Callable[[Any], T]
"""Turns a TOML value into a checked one.  Raises ConfigError, whose *line* is the
element, from 1."""
Keys = Mapping[str, Sequence[str]]
"""The keys of every table, by its name; "" stands for what precedes the first table."""

_AT = re.compile(r"(.*) \(at line (\d+), column \d+\)")


class Document:
    """A TOML file called *name* in messages, with no keys but *keys*; tables of *several* are
    arrays.

    Raises ConfigError.
    """

    def __init__(self, text: str, name: str, keys: Keys, several: Sequence[str] = ()) -> None:
        self.name = name
        self._text = text
        try:
            self._values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            said = _AT.fullmatch(str(error))
            message, line = (said[1], int(said[2])) if said else (str(error), None)
            raise ConfigError(message, name, line) from None
        self._check(keys, several)
        self.top = Table(self, (), self._values)
        """The keys before the first table."""

    def table(self, name: str) -> Table:
        """Return the table ``[name]``, empty if there is none."""
        return Table(self, (name,), self._values.get(name, {}))

    def tables(self, name: str) -> list[Table]:
        """Return every ``[[name]]``, in order."""
        found = enumerate(self._values.get(name, ()))
        return [Table(self, (name, number), values) for number, values in found]

    def fault(self, message: str, place: Place) -> ConfigError:
        """Return the error *message* about the value at *place*."""
        called = ".".join(part for part in place if isinstance(part, str))
        return ConfigError(f"{called}: {message}", self.name, self.line(place))

    def line(self, place: Place) -> int | None:
        """Return the line of the value at *place*, or of what contains it."""
        known = self._lines
        while place and place not in known:
            place = place[:-1]
        return known.get(place)

    @cached_property
    def _lines(self) -> dict[Place, int]:
        return lines(self._text)

    # -- keys --------------------------------------------------------------------------------

    def _check(self, keys: Keys, several: Sequence[str]) -> None:
        """Raise ConfigError for an unknown key, and for a table written as something else."""
        for place, key in self._keys(keys, several):
            table = str(place[0]) if place else ""
            if key not in keys[table] and (place or key not in keys):
                raise self.fault(_unknown(key, table, keys), (*place, key))

    def _keys(self, keys: Keys, several: Sequence[str]) -> Iterator[tuple[Place, str]]:
        for key, value in self._values.items():
            yield (), key
            if key not in keys:
                continue
            if key not in several:
                if not isinstance(value, dict):
                    raise self.fault(f"it is a table: [{key}]", (key,))
                yield from (((key,), inner) for inner in value)
            elif not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
                raise self.fault(f"there can be several: [[{key}]]", (key,))
            else:
                for number, one in enumerate(value):
                    yield from (((key, number), inner) for inner in one)


class Table:
    """A table of a document, or an empty one in place of a missing table."""

    def __init__(self, document: Document, place: Place, values: Mapping[str, Any]) -> None:
        self._document = document
        self._place = place
        self._values = values

    @property
    def file(self) -> str:
        """The name of the document."""
        return self._document.name

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, read: Reader[T], default: T) -> T:
        """Return the value of *key* by the reader *read*, or *default*.  Raises ConfigError."""
        return self._read(key, read) if key in self._values else default

    def need(self, key: str, read: Reader[T]) -> T:
        """Return the value of *key* by the reader *read*; it must be there.  Raises ConfigError."""
        if key not in self._values:
            raise self.fault(f"{key} is missing")
        return self._read(key, read)

    def fault(self, message: str, *inner: str | int) -> ConfigError:
        """Return the error *message* about this table, or about what is at *inner* in it."""
        return self._document.fault(message, (*self._place, *inner))

    def line(self, *inner: str | int) -> int | None:
        """Return the line of the table, or of what is at *inner* in it."""
        return self._document.line((*self._place, *inner))

    def _read(self, key: str, read: Reader[T]) -> T:
        try:
            return read(self._values[key])
        except ConfigError as error:
            element = () if error.line is None else (error.line - 1,)
            raise self.fault(error.message, key, *element) from error


def _unknown(key: str, table: str, keys: Keys) -> str:
    """Return the error message for an unknown *key* of *table*, with what was probably meant."""
    own = [*keys[table], *filter(None, keys)] if not table else list(keys[table])
    if not table and (near := difflib.get_close_matches(key, filter(None, keys), 1, 0.8)):
        # the name of a table is a better guess than a key elsewhere
        return f"no such key; is {near[0]} meant?"
    home = next((name for name, others in keys.items() if key in others), None)
    if home is not None:
        where = f"in [{home}]" if home else "at the top, before the first table"
        return f"no such key here; it belongs {where}"
    if near := difflib.get_close_matches(key, own, 1):
        return f"no such key; is {near[0]} meant?"
    return f"no such key; there are {', '.join(own)}"
