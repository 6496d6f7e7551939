"""The table of static maps: the explicit address mapping table of RFC 7757.

Each protocol and port has a table of the maps that serve it, in which the longest match decides
(RFC 7757 §3.3).  Where two maps of one network both serve a port, the one with a list of ports wins
over the one for all ports.  Every other duplicate is an error (RFC 7757 §5): within a protocol and
a port, a network of one family has one counterpart in the other.

A table is immutable, and yet a change of a few maps among very many costs what the few do: all
versions of a table share the indices of the newest, which are changed in place, and each older
version knows in what it differs from that.
"""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.map import PROTOCOLS
from faith.translation.map_index import FromV4, FromV6, by_protocol, clash
from faith.translation.networks import join, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
    from typing import TypeVar

    from faith.translation.map import Map, Network

    Index = TypeVar("Index", FromV4, FromV6)

IN_PLACE = 4
"""A change of less than one map in so many is made in place; else a table of its own is built."""

MOST_WAITING = 1000
"""Networks of new maps that wait until somebody asks for `Maps.networks`; with more, all are
joined anew."""


class Maps:
    """An immutable set of maps; the cost of a look-up does not grow with their number.

    It grows with the number of prefix lengths in use, and logarithmically with the port ranges of
    one address; in a version that others have replaced, also with what they have changed.  Raises
    ConfigError, with file and line, for a map that contradicts one before it.
    """

    __slots__ = (
        "__weakref__",
        "_extra",
        "_from_v4",
        "_from_v6",
        "_joined",
        "_missing",
        "_shared",
    )

    _from_v4: Mapping[str, FromV4 | _Earlier]
    _from_v6: Mapping[str, FromV6 | _Earlier]

    def __init__(self, maps: Iterable[Map] = ()) -> None:
        self._begin(_Shared(maps))

    def _begin(self, shared: _Shared) -> None:
        """Be the newest version of what is *shared*."""
        self._shared = shared
        self._missing: dict[int, Map] = {}  # by identity, here and not in the newest version
        self._extra: dict[int, Map] = {}  # there and not here
        self._from_v4, self._from_v6 = shared.from_v4, shared.from_v6
        self._joined: tuple[tuple[Network, ...], tuple[Network, ...]] | None = None

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

    def get(self, one: Map) -> Map | None:
        """Return the map here that equals *one*, which may be in another file, or None."""
        found = self._shared.maps.get(one)
        if found is not None and id(found) not in self._extra:
            return found
        return next((other for other in self._missing.values() if other == one), None)

    def changed(self, gone: Iterable[Map], new: Iterable[Map]) -> Maps:
        """Return a table without the maps *gone* and with *new* ones appended.

        Raises ConfigError.
        """
        if not len(self):
            return Maps(new)
        found = (self.get(one) for one in gone)
        leaving = {one: one for one in found if one is not None}
        coming: dict[Map, Map] = {}
        for one in new:
            other = coming.get(one) or (None if one in leaving else self.get(one))
            if other is not None:
                raise clash(one, other)
            coming[one] = one
        if not leaving and not coming:
            return self
        if IN_PLACE * (len(leaving) + len(coming)) > len(self):
            kept = [one for one in self if one not in leaving]
            return Maps([*kept, *coming])
        if self._missing or self._extra:
            self._shared.change([*self._extra.values()], [*self._missing.values()])
        versions = self._shared.versions
        versions[id(self)] = self
        self._shared.change(leaving, coming)
        after = Maps.__new__(Maps)
        after._begin(self._shared)
        versions[id(after)] = after
        if self._joined and not leaving and len(self._joined[1]) < MOST_WAITING:
            networks, waiting = self._joined
            after._joined = networks, (*waiting, *(one.v4 for one in coming))
        return after

    def note(self, gone: Iterable[Map], new: Iterable[Map]) -> None:
        """Take note of a change of the newest version."""
        for one in gone:
            if self._extra.pop(id(one), None) is None:
                self._missing[id(one)] = one
        for one in new:
            if self._missing.pop(id(one), None) is None:
                self._extra[id(one)] = one
        shared, differs = self._shared, (self._missing, self._extra)
        if any(differs):
            self._from_v4 = {one: _Earlier(shared.from_v4, one, *differs) for one in PROTOCOLS}
            self._from_v6 = {one: _Earlier(shared.from_v6, one, *differs) for one in PROTOCOLS}
        else:
            self._from_v4, self._from_v6 = shared.from_v4, shared.from_v6

    def difference(self, other: Maps) -> list[Map]:
        """Return the maps that are not in *other*."""
        if self is other or not len(self):
            return []
        if self._shared is other._shared:
            ours = {**self._missing, **other._extra}
            for one in (*other._missing, *self._extra):
                ours.pop(one, None)
            return [one for one in ours.values() if one not in other]
        if not len(other):
            return list(self)
        left = self._set() - other._set()
        return [one for one in self if one in left] if left else []

    @property
    def networks(self) -> tuple[Network, ...]:
        """The IPv4 networks of all maps, merged into the fewest that hold the same addresses,
        ascending."""
        if self._joined is None:
            self._joined = tuple(joined(one.v4 for one in self)), ()
        elif self._joined[1]:
            networks = list(self._joined[0])
            for one in self._joined[1]:
                join(networks, one)
            self._joined = tuple(networks), ()
        return self._joined[0]

    def _set(self) -> set[Map]:
        found = set(self._shared.maps)
        return found.difference(self._extra.values()).union(self._missing.values())

    def __contains__(self, one: Map) -> bool:
        return self.get(one) is not None

    def __iter__(self) -> Iterator[Map]:
        newest = list(self._shared.maps.values())
        if not self._extra:
            return iter([*newest, *self._missing.values()])
        here = [one for one in newest if id(one) not in self._extra]
        return iter([*here, *self._missing.values()])

    def __len__(self) -> int:
        return len(self._shared.maps) - len(self._extra) + len(self._missing)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Maps):
            return NotImplemented
        return len(self) == len(other) and not self.difference(other)

    def __hash__(self) -> int:
        return hash(len(self))


class _Shared:
    """The maps and indices of the newest version of a table, and the versions before it."""

    __slots__ = ("_versions", "from_v4", "from_v6", "maps")

    def __init__(self, maps: Iterable[Map]) -> None:
        several = list(maps)
        self.from_v4 = by_protocol(FromV4, [one for one in several if one.from_v4])
        self.from_v6 = by_protocol(FromV6, [one for one in several if one.from_v6])
        self.maps: dict[Map, Map] = {}
        for one in several:
            if self.maps.setdefault(one, one) is not one:
                raise clash(one, self.maps[one])
        self._versions: MutableMapping[int, Maps] | None = None

    @property
    def versions(self) -> MutableMapping[int, Maps]:
        """The versions that are still in use, by identity, once there has been a change."""
        if self._versions is None:
            from weakref import WeakValueDictionary  # not above: inetd mode has no maps

            self._versions = WeakValueDictionary()
        return self._versions

    def change(self, gone: Collection[Map], new: Collection[Map]) -> None:
        """Make another version the newest.  Raises ConfigError, and then nothing has changed."""
        undo = []
        try:
            for one in gone:
                self._remove(one)
                undo.append((self._add, one))
            for one in new:
                self._add(one)
                undo.append((self._remove, one))
        except ConfigError:
            for step, one in reversed(undo):
                step(one)
            raise
        for one in gone:
            del self.maps[one]
        self.maps.update((one, one) for one in new)
        for version in list(self.versions.values()):
            version.note(gone, new)

    def _add(self, one: Map) -> None:
        done: list[FromV4 | FromV6] = []
        try:
            for index in self._indices(one):
                index.add(one)
                done.append(index)
        except ConfigError:
            for index in done:
                index.remove(one)
            raise

    def _remove(self, one: Map) -> None:
        for index in self._indices(one):
            index.remove(one)

    def _indices(self, one: Map) -> list[FromV4 | FromV6]:
        """Return the indices that have *one*, or are to have it, and no protocol but its own."""
        return [
            *(_split(self.from_v4, one.protocols) if one.from_v4 else ()),
            *(_split(self.from_v6, one.protocols) if one.from_v6 else ()),
        ]


def _split(indices: dict[str, Index], protocols: frozenset[str]) -> list[Index]:
    """Return the indices of *protocols*, which share none with other protocols any more."""
    found = []
    for index in {id(indices[one]): indices[one] for one in sorted(protocols)}.values():
        users = [one for one in PROTOCOLS if indices[one] is index]
        own = index if protocols.issuperset(users) else index.copy()
        indices.update((one, own) for one in protocols.intersection(users))
        found.append(own)
    return found


class _Earlier:
    """The maps of one protocol in a version that is not the newest, whose *indices* are others'."""

    __slots__ = ("_extra", "_indices", "_missing", "_protocol")

    def __init__(
        self,
        indices: Mapping[str, FromV4 | FromV6],
        protocol: str,
        missing: dict[int, Map],
        extra: dict[int, Map],
    ) -> None:
        self._indices = indices
        self._protocol = protocol
        self._missing = missing
        self._extra = extra

    def find(self, *asked: int) -> Map | None:
        """Return what the index of the protocol would find, in this version."""
        index = self._indices[self._protocol]
        fitting = [one for one in index.matches(*asked) if id(one) not in self._extra][:1]
        for one in self._missing.values():
            if self._protocol in one.protocols and index.fits(one, *asked):
                fitting.append(one)
        return max(fitting, key=index.rank, default=None)


NO_MAPS = Maps()
