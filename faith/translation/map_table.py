"""The table of static maps: the explicit address mapping table of RFC 7757.

Each protocol and port has a table of the maps that serve it, in which the longest match decides
(RFC 7757 §3.3).  Where two maps of one network both serve a port, the one with a list of ports wins
over the one for all ports.  Every other duplicate is an error (RFC 7757 §5): within a protocol and
a port, a network of one family has one counterpart in the other.
"""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.map import PROTOCOLS, overlap, text4, text6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from faith.translation.map import Map, Network

    T = TypeVar("T")


class Maps:
    """An immutable set of maps; the cost of a look-up does not grow with their number.

    It grows with the number of prefix lengths in use, and logarithmically with the port ranges of
    one address.  Raises ConfigError, with file and line, for a map that contradicts one before it.
    """

    __slots__ = ("_all", "_from_v4", "_from_v6", "_networks")

    def __init__(self, maps: Iterable[Map] = ()) -> None:
        self._all = tuple(maps)
        self._from_v4 = _by_protocol([one for one in self._all if one.from_v4], _FromV4)
        self._from_v6 = _by_protocol([one for one in self._all if one.from_v6], _FromV6)
        self._networks: tuple[Network, ...] | None = None

    def to_v6(self, v4: int, protocol: str, port: int) -> tuple[int, int] | None:
        """Return the IPv6 host (128 bits) and port for a connection to *v4* and *port*, or None.

        The port of an echo request is 0.
        """
        found = self.find(v4, protocol, port)
        if found is None:
            return None
        return found.to_v6(v4), port if found.to_port is None else found.to_port

    def find(self, v4: int, protocol: str, port: int) -> Map | None:
        """Return the map that serves connections to *v4* and *port*, or None."""
        return self._from_v4[protocol].find(v4, port)

    def to_v4(self, v6: int, protocol: str) -> int | None:
        """Return the IPv4 address that the IPv6 host *v6* makes its own connections
        from, or None."""
        found = self._from_v6[protocol].find(v6)
        return found.to_v4(v6) if found else None

    def changed(self, gone: Iterable[Map], new: Iterable[Map]) -> Maps:
        """Return a table without the maps *gone* and with *new* ones appended.

        Raises ConfigError.
        """
        leaving = set(gone)
        # a cheap first test: most maps differ in their IPv4 network already
        near = {one.v4 for one in leaving}
        kept = [one for one in self._all if one.v4 not in near or one not in leaving]
        return Maps([*kept, *new])

    @property
    def networks(self) -> tuple[Network, ...]:
        """The IPv4 networks of all maps, merged into the fewest that hold the same addresses,
        ascending."""
        if self._networks is None:
            self._networks = tuple(_joined(one.v4 for one in self._all))
        return self._networks

    def __iter__(self) -> Iterator[Map]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maps) and self._all == other._all

    def __hash__(self) -> int:
        return hash(self._all)


class _FromV4:
    """The maps of one protocol, by IPv4 address."""

    __slots__ = ("_tables",)

    def __init__(self, maps: Iterable[Map]) -> None:
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
                    raise _clash(one, table[key], _stands_for(one.v4, table[key]))
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
        for shift, listed, whole in self._tables:
            key = v4 >> shift
            found = listed[key].find(port) if key in listed else None
            found = found or whole.get(key)
            if found is not None:
                return found
        return None


class _OfPorts:
    """The maps of one IPv4 network that have lists of ports."""

    __slots__ = ("_firsts", "_lasts", "_maps")

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
                raise _clash(after, before, _stands_for(after.v4, before, f" port {first}"))
        self._firsts = [first for first, _, _ in ranges]
        self._lasts = [last for _, last, _ in ranges]
        self._maps = [maps[order] for _, _, order in ranges]

    def find(self, port: int) -> Map | None:
        from bisect import bisect_right

        at = bisect_right(self._firsts, port) - 1
        return self._maps[at] if at >= 0 and port <= self._lasts[at] else None


class _FromV6:
    """The maps of one protocol, by IPv6 address."""

    __slots__ = ("_tables",)

    def __init__(self, maps: Iterable[Map]) -> None:
        tables: dict[int, dict[int, Map]] = {}
        for one in maps:
            network, length = one.v6
            table, key = tables.setdefault(length, {}), network >> 128 - length
            other = table.get(key)
            if other and (other.v4 != one.v4 or other == one):
                what = f"{text6(*one.v6)} goes out as {text4(*other.v4)}"
                raise _clash(one, other, what, "; is direction in meant?")
            table[key] = one
        self._tables = tuple((128 - length, tables[length]) for length in sorted(tables)[::-1])

    def find(self, v6: int) -> Map | None:
        for shift, table in self._tables:
            found = table.get(v6 >> shift)
            if found is not None:
                return found
        return None


def _by_protocol(maps: list[Map], build: Callable[[list[Map]], T]) -> dict[str, T]:
    """Build a table for each protocol; protocols with the same maps share one."""
    built: list[tuple[list[Map], T]] = []
    for protocol in PROTOCOLS:
        own = [one for one in maps if protocol in one.protocols]
        same = next((table for others, table in built if others == own), None)
        built.append((own, same or build(own)))
    return {protocol: table for protocol, (_, table) in zip(PROTOCOLS, built, strict=True)}


def _stands_for(v4: Network, one: Map, port: str = "") -> str:
    return f"{text4(*v4)}{port} stands for {text6(*one.v6)}"


def _clash(one: Map, other: Map, what: str, hint: str = "") -> ConfigError:
    """Return the error for the map *one*, which contradicts the earlier map *other*."""
    if one == other:
        what, hint = "the same map is there", ""
    return ConfigError(f"{what} already{_where(one, other)}{hint}", one.file, one.line)


def _where(one: Map, other: Map) -> str:
    """Return where *other* was read, relative to the file of *one*; empty if unknown."""
    if other.line is None:
        return ""
    return f" (line {other.line})" if one.file == other.file else f" ({other.file}:{other.line})"


def _joined(networks: Iterable[Network]) -> list[Network]:
    """Return the fewest IPv4 networks with the same addresses, ascending."""
    found: list[Network] = []
    for network, length in sorted(set(networks)):
        if found and length >= found[-1][1] and overlap(found[-1], (network, length), 32):
            continue
        found.append((network, length))
        while len(found) > 1 and _halves(*found[-2:]):
            found[-2:] = [(found[-2][0], found[-2][1] - 1)]
    return found


def _halves(one: Network, other: Network) -> bool:
    """Return whether two ascending networks are the halves of one network."""
    return one[1] == other[1] and one[0] ^ other[0] == 1 << 32 - one[1]


NO_MAPS = Maps()
