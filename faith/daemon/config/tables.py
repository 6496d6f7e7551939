"""Strict access to a TOML file: every error names file and line, and suggests what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from faith.daemon.config import toml_text
from faith.daemon.config.line_numbers import Place, lines
from faith.errors import ConfigError, raise_all
from faith.translation.typography import explain

T = TypeVar("T")
D = TypeVar("D")
Reader = Callable[[Any], T]
"""Turns a TOML value into a checked one.  Raises ConfigError, whose *line* is the
element, from 1."""
_ALL_BUT_THE_SAME = 0.85
"""The likeness, up to 1, of keys that differ in a letter or two: "client" and "clients"."""
Keys = Mapping[str, Sequence[str]]
"""The keys of every table, by its name; "" stands for what precedes the first table."""


class _GivenUp(ConfigError):
    """A mistake that is noted already, and keeps what it is in from being read."""


class Document:
    """A TOML file called *name* in messages, with no keys but *keys*; tables of *several* are
    arrays.

    Mistakes are noted as it is read, so that all are found; `finish` raises them.  Raises
    ConfigError for a text that cannot be read further.
    """

    def __init__(self, text: str, name: str, keys: Keys, several: Sequence[str] = ()) -> None:
        self.name = name
        self._values, self._text, self._mistakes = toml_text.parse(text, name)
        self.is_whole = not self._mistakes
        """False if lines could not be read: keys may be missing because of that."""
        self._misspelt: set[Place] = set()
        self.lacks_tables = False
        """True if a table is misspelt or is written as something else: others may seem missing."""
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

    def misses(self, place: Place) -> bool:
        """Return whether a key missing at *place* is a mistake, and not due to another mistake."""
        return self.is_whole and place not in self._misspelt

    def attempt(self, read: Callable[[], T], otherwise: D) -> T | D:
        """Return what *read* returns, or *otherwise*, with its error noted.

        An error that may be due to another mistake found by *read* is not: values that are wrong
        have been replaced by their defaults.
        """
        before = len(self._mistakes)
        try:
            return read()
        except _GivenUp:
            return otherwise
        except ConfigError as error:
            if len(self._mistakes) == before and self.is_whole:
                self.note(error)
            return otherwise

    def note(self, error: ConfigError) -> None:
        """Note a mistake, or each of several, once."""
        known = {(one.file, one.line, one.message) for one in self._mistakes}
        self._mistakes += [
            one for one in error.errors if (one.file, one.line, one.message) not in known
        ]

    def finish(self) -> None:
        """Raise the mistakes that were noted, in the order of their lines."""
        raise_all(sorted(self._mistakes, key=self._order))

    def _order(self, error: ConfigError) -> tuple[bool, str, int]:
        return error.file != self.name, error.file or "", error.line or 0

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
        """Note unknown keys, and drop tables that are written as something else."""
        for name, value in list(self._values.items()):
            if name in keys and name and (wrong := _misshapen(name, value, several)):
                self.note(self.fault(wrong, (name,)))
                self.lacks_tables = True
                del self._values[name]
        for place, key in self._keys(keys, several):
            table = str(place[0]) if place else ""
            if key not in keys[table] and (place or key not in keys):
                self.note(self.fault(_unknown(key, table, keys), (*place, key)))
                self._misspelt.add(place)
                self.lacks_tables |= not place and _is_table(self._values[key])

    def _keys(self, keys: Keys, several: Sequence[str]) -> Iterator[tuple[Place, str]]:
        for key, value in self._values.items():
            yield (), key
            if key not in keys:
                continue
            if key not in several:
                yield from (((key,), inner) for inner in value)
            else:
                for number, one in enumerate(value):
                    yield from (((key, number), inner) for inner in one)


def _misshapen(name: str, value: Any, several: Sequence[str]) -> str | None:
    """Return what is wrong with the form of the table *name*, or None."""
    if name not in several:
        return None if isinstance(value, dict) else f"it is a table: [{name}]"
    tables = isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return None if tables else f"there can be several: [[{name}]]"


def _is_table(value: Any) -> bool:
    """Return whether *value* is a table or an array of tables."""
    several = value if isinstance(value, list) and value else [value]
    return all(isinstance(one, dict) for one in several)


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

    def take(self, key: str, read: Reader[T], default: D) -> T | D:
        """Return the value of *key* by the reader *read*, or *default*, also for a mistake, which
        is noted."""
        return (
            self._document.attempt(lambda: self.need(key, read), default)
            if key in self
            else default
        )

    def need(self, key: str, read: Reader[T]) -> T:
        """Return the value of *key* by the reader *read*; it must be there.  Raises ConfigError."""
        try:
            if key not in self:
                raise self.fault(f"{key} is missing")
            return self._read(key, read)
        except ConfigError as error:
            if key in self or self._document.misses(self._place):
                self._document.note(error)
            raise _GivenUp(error.message, error.file, error.line) from error

    def note(self, message: str, *inner: str | int) -> None:
        """Note a mistake in this table, or in what is at *inner* in it."""
        self._document.note(self.fault(message, *inner))

    def fault(self, message: str, *inner: str | int) -> ConfigError:
        """Return the error *message* about this table, or about what is at *inner* in it."""
        return self._document.fault(message, (*self._place, *inner))

    def line(self, *inner: str | int) -> int | None:
        """Return the line of the table, or of what is at *inner* in it."""
        return self._document.line((*self._place, *inner))

    def _read(self, key: str, read: Reader[T]) -> T:
        value = self._values[key]
        try:
            return read(value)
        except ConfigError as error:
            raise_all([self._placed(one, key, value) for one in error.errors])
            raise

    def _placed(self, error: ConfigError, key: str, value: Any) -> ConfigError:
        """Return the *error* about *value* with its place; its line is the element's, from 1."""
        element = () if error.line is None else (error.line - 1,)
        written = value[error.line - 1] if error.line and isinstance(value, list) else value
        text = written if isinstance(written, str) else ""
        return self.fault(explain(error.message, text, tabs=True), key, *element)


def _unknown(key: str, table: str, keys: Keys) -> str:
    """Return the error message for an unknown *key* of *table*, with what was probably meant."""
    own = [*keys[table], *filter(None, keys)] if not table else list(keys[table])
    if not table and (near := difflib.get_close_matches(key, filter(None, keys), 1, 0.8)):
        # the name of a table is a better guess than a key elsewhere
        return f"no such key; is {near[0]} meant?"
    if table and (near := difflib.get_close_matches(key, own, 1, _ALL_BUT_THE_SAME)):
        return f"no such key; is {near[0]} meant?"
    home = next((name for name, others in keys.items() if key in others), None)
    if home is not None and key != table:  # that key is what the table is about
        where = f"in [{home}]" if home else "at the top, before the first table"
        return f"no such key here; it belongs {where}"
    if near := difflib.get_close_matches(key, own, 1):
        return f"no such key; is {near[0]} meant?"
    return f"no such key; there are {', '.join(own)}"
