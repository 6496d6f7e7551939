"""Indices of static maps by IPv4 and by IPv6 address, which are changed in place.

Each is of one protocol.  The longest match decides (RFC 7757 §3.3); of one IPv4 network, a map with
a list of ports goes before one for all ports.
"""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.address import text4, text6
from faith.translation.map import PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    from faith.translation.map import Map, Network

    Index = TypeVar("Index", "FromV4", "FromV6")


class FromV4:
    """The maps of one protocol, by IPv4 address."""

    __slots__ = ("_tables",)

    def __init__(self, maps: Iterable[Map] = ()) -> None:
        whole: dict[int, dict[int, Map]] = {}
        listed: dict[int, dict[int, list[Map]]] = {}
        for one in maps:
            network, length = one.v4
            if one.ports is not None:
                at = listed.setdefault(length, {}).setdefault(network >> 32 - length, [])
                at.append(one)
            else:
                table, key = whole.setdefault(length, {}), network >> 32 - length
                if key in table:
                    raise clash(one, table[key], _stands_for(one.v4, table[key]))
                table[key] = one
        self._tables = tuple(
            (
                32 - length,
                {key: _OfPorts(maps) for key, maps in listed.get(length, {}).items()},
                whole.get(length, {}),
            )
            for length in sorted({*whole, *listed}, reverse=True)
        )

    def find(self, v4: int, port: int) -> Map | None:
        """Return the map that serves connections to *v4* and *port*, or None."""
        for shift, listed, whole in self._tables:
            key = v4 >> shift
            found = listed[key].find(port) if key in listed else None
            found = found or whole.get(key)
            if found is not None:
                return found
        return None

    @staticmethod
    def fits(one: Map, v4: int, port: int) -> bool:
        """Return whether *one* serves connections to *v4* and *port*."""
        network, length = one.v4
        holds = (v4 ^ network) >> 32 - length == 0
        return one.from_v4 and holds and (one.ports is None or port in one.ports)

    @staticmethod
    def rank(one: Map) -> tuple[int, bool]:
        """Return the rank of a map, of which the greatest decides."""
        return one.v4[1], one.ports is not None

    def matches(self, v4: int, port: int) -> Iterator[Map]:
        """Return every map that holds *v4* and *port*, the one that decides first."""
        for shift, listed, whole in self._tables:
            key = v4 >> shift
            for found in (listed[key].find(port) if key in listed else None, whole.get(key)):
                if found is not None:
                    yield found

    def add(self, one: Map) -> None:
        """Add a map.  Raises ConfigError for one that contradicts another, and adds nothing."""
        _, listed, whole = self._table(one)
        key = one.v4[0] >> 32 - one.v4[1]
        if one.ports is not None:
            listed[key] = _OfPorts([*(listed[key].maps if key in listed else ()), one])
        elif key in whole:
            raise clash(one, whole[key], _stands_for(one.v4, whole[key]))
        else:
            whole[key] = one

    def remove(self, one: Map) -> None:
        """Remove a map that is there."""
        _, listed, whole = self._table(one)
        key = one.v4[0] >> 32 - one.v4[1]
        if one.ports is None:
            del whole[key]
        elif rest := [other for other in listed[key].maps if other != one]:
            listed[key] = _OfPorts(rest)
        else:
            del listed[key]
        self._tables = tuple(table for table in self._tables if table[1] or table[2])

    def copy(self) -> FromV4:
        """Return an index with the same maps, which is changed apart from this one."""
        new = FromV4()
        new._tables = tuple((shift, {**listed}, {**whole}) for shift, listed, whole in self._tables)
        return new

    def _table(self, one: Map) -> tuple[int, dict[int, _OfPorts], dict[int, Map]]:
        """Return the table of the prefix length of *one*."""
        shift = 32 - one.v4[1]
        found = next((table for table in self._tables if table[0] == shift), None)
        if found is None:
            found = shift, {}, {}
            self._tables = (*self._tables, found)
            self._tables = tuple(sorted(self._tables, key=lambda table: table[0]))
        return found


class _OfPorts:
    """The maps of one IPv4 network that have lists of ports."""

    __slots__ = ("_firsts", "_lasts", "_maps", "maps")

    def __init__(self, maps: list[Map]) -> None:
        from itertools import pairwise  # not above, as bisect below: inetd mode has no maps

        ranges = sorted(
            (first, last, order)
            for order, one in enumerate(maps)
            for first, last in (one.ports.ranges if one.ports else ())
        )
        for (_, last, one), (first, _, other) in pairwise(ranges):
            if first <= last:
                before, after = maps[min(one, other)], maps[max(one, other)]
                raise clash(after, before, _stands_for(after.v4, before, f" port {first}"))
        self.maps = tuple(maps)
        self._firsts = [first for first, _, _ in ranges]
        self._lasts = [last for _, last, _ in ranges]
        self._maps = [maps[order] for _, _, order in ranges]

    def find(self, port: int) -> Map | None:
        from bisect import bisect_right

        at = bisect_right(self._firsts, port) - 1
        return self._maps[at] if at >= 0 and port <= self._lasts[at] else None


class FromV6:
    """The maps of one protocol, by IPv6 address.

    Several maps of one IPv6 network have the same IPv4 network, and differ in their ports.
    """

    __slots__ = ("_several", "_tables")

    def __init__(self, maps: Iterable[Map] = ()) -> None:
        tables: dict[int, dict[int, Map]] = {}
        several: dict[Network, list[Map]] = {}
        for one in maps:
            network, length = one.v6
            table, key = tables.setdefault(length, {}), network >> 128 - length
            if key in table:
                _refuse_other(one, table[key])
                several.setdefault(one.v6, [table[key]]).append(one)
            table[key] = one
        self._tables = tuple((128 - length, tables[length]) for length in sorted(tables)[::-1])
        self._several = several

    def find(self, v6: int) -> Map | None:
        """Return a map that the IPv6 host *v6* makes its own connections by, or None."""
        for shift, table in self._tables:
            found = table.get(v6 >> shift)
            if found is not None:
                return found
        return None

    @staticmethod
    def fits(one: Map, v6: int) -> bool:
        """Return whether the IPv6 host *v6* makes its own connections by *one*."""
        network, length = one.v6
        return one.from_v6 and (v6 ^ network) >> 128 - length == 0

    @staticmethod
    def rank(one: Map) -> int:
        """Return the rank of a map, of which the greatest decides."""
        return one.v6[1]

    def matches(self, v6: int) -> Iterator[Map]:
        """Return every map that holds *v6*, those that decide first."""
        for shift, table in self._tables:
            found = table.get(v6 >> shift)
            if found is not None:
                yield from self._several.get(found.v6, (found,))

    def add(self, one: Map) -> None:
        """Add a map.  Raises ConfigError for one that contradicts another, and adds nothing."""
        shift, table = self._table(one)
        key = one.v6[0] >> shift
        if key in table:
            _refuse_other(one, table[key])
            self._several.setdefault(one.v6, [table[key]]).append(one)
        table[key] = one

    def remove(self, one: Map) -> None:
        """Remove a map that is there."""
        shift, table = self._table(one)
        key = one.v6[0] >> shift
        rest = [other for other in self._several.pop(one.v6, ()) if other != one]
        if rest:
            table[key] = rest[-1]
            self._several[one.v6] = rest
        else:
            del table[key]
        self._tables = tuple(each for each in self._tables if each[1])

    def copy(self) -> FromV6:
        """Return an index with the same maps, which is changed apart from this one."""
        new = FromV6()
        new._tables = tuple((shift, {**table}) for shift, table in self._tables)
        new._several = {network: [*maps] for network, maps in self._several.items()}
        return new

    def _table(self, one: Map) -> tuple[int, dict[int, Map]]:
        """Return the table of the prefix length of *one*."""
        shift = 128 - one.v6[1]
        found = next((table for table in self._tables if table[0] == shift), None)
        if found is None:
            found = shift, {}
            self._tables = tuple(sorted((*self._tables, found), key=lambda table: table[0]))
        return found


def by_protocol(kind: type[Index], maps: list[Map]) -> dict[str, Index]:
    """Return an index of *kind* for each protocol; protocols with the same maps share one."""
    built: list[tuple[list[Map], Index]] = []
    for protocol in PROTOCOLS:
        own = [one for one in maps if protocol in one.protocols]
        same = next((index for others, index in built if others == own), None)
        built.append((own, same or kind(own)))
    return {protocol: index for protocol, (_, index) in zip(PROTOCOLS, built, strict=True)}


def _refuse_other(one: Map, other: Map) -> None:
    """Raise ConfigError unless both maps, of one IPv6 network, have the same IPv4 network."""
    if other.v4 != one.v4 or other == one:
        what = f"{text6(*one.v6)} goes out as {text4(*other.v4)}"
        raise clash(one, other, what, "; is direction in meant?")


def _stands_for(v4: Network, one: Map, port: str = "") -> str:
    return f"{text4(*v4)}{port} stands for {text6(*one.v6)}"


def clash(one: Map, other: Map, what: str = "", hint: str = "") -> ConfigError:
    """Return the error for the map *one*, which contradicts the earlier map *other*.

    *what* they contradict each other in need not be told of two that are the same.
    """
    if one == other:
        what, hint = "the same map is there", ""
    return ConfigError(f"{what} already{_where(one, other)}{hint}", one.file, one.line)


def _where(one: Map, other: Map) -> str:
    """Return where *other* was read, relative to the file of *one*; empty if unknown."""
    if other.line is None:
        return ""
    return f" (line {other.line})" if one.file == other.file else f" ({other.file}:{other.line})"
