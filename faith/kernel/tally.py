"""Numbers that several processes keep, and that anybody may add up without a message or a lock.

Every process has a *slab* of its own in one piece of memory that they share, and alone writes it.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableSequence, Sequence

    Cells = MutableSequence[int] | memoryview[int]
    """Counters; where nobody else is to see them, a list."""

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

_WIDTH = 8  # octets of a cell: the kernel's pages keep them aligned
_MICRO = 1_000_000


@dataclass(frozen=True)
class Family:
    """Numbers of one *name* and *kind*, as Prometheus calls them, told apart by *label*.

    There is a cell for each of *values*.  A histogram has the upper *bounds* of its buckets in
    seconds, and a cell for each, one for what is above them all, and one for the sum (in µs).
    """

    name: str
    help: str
    kind: str = COUNTER
    label: str = ""
    values: tuple[str, ...] = ("",)
    bounds: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Its cells."""
        return len(self.bounds) + 2 if self.bounds else len(self.values)


class Layout:
    """Where in a slab the cells of *families* are."""

    def __init__(self, *families: Family) -> None:
        self.families = families
        *starts, self.size = accumulate((family.size for family in families), initial=0)
        self._starts = {family.name: start for family, start in zip(families, starts, strict=True)}

    def start(self, family: Family) -> int:
        """The first cell of *family*."""
        return self._starts[family.name]

    def cells(self, family: Family) -> dict[str, int]:
        """The cell of each of *family*'s values."""
        return {value: self.start(family) + n for n, value in enumerate(family.values)}

    def of(self, family: Family, cells: Sequence[int]) -> Sequence[int]:
        """The numbers of *family* among *cells*."""
        return cells[self.start(family) : self.start(family) + family.size]


class Buckets:
    """A histogram among *cells*."""

    def __init__(self, cells: Cells, layout: Layout, family: Family) -> None:
        self._cells = cells
        self._bounds = family.bounds
        self._start = layout.start(family)
        self._sum = self._start + family.size - 1

    def add(self, seconds: float) -> None:
        """One more that took so long."""
        cells = self._cells
        cells[self._start + bisect_left(self._bounds, seconds)] += 1
        cells[self._sum] += int(seconds * _MICRO)


@overload
def shared(form: Literal["q"], count: int) -> memoryview[int]: ...
@overload
def shared(form: Literal["d"], count: int) -> memoryview[float]: ...
def shared(form: Literal["q", "d"], count: int) -> memoryview[int] | memoryview[float]:
    """So many integers ("q") or floats ("d"), which processes forked from this one share.

    They are 0 at first, and cost memory once they are something else.
    """
    return memoryview(mmap.mmap(-1, count * _WIDTH)).cast(form)


class Area:
    """Slabs of *places* processes, each with room for *layouts*; zeros at first.

    The memory goes with the last process that was forked from its maker.
    """

    def __init__(self, layouts: Iterable[Layout], places: int) -> None:
        *offsets, self._width = accumulate((one.size for one in layouts), initial=0)
        self._offsets = {id(one): start for one, start in zip(layouts, offsets, strict=True)}
        self.layouts = tuple(layouts)
        self.places = places
        self._cells = shared("q", self._width * places)

    def slab(self, place: int, layout: Layout) -> memoryview[int]:
        """The cells of one process for *layout*."""
        start = place * self._width + self._offsets[id(layout)]
        return self._cells[start : start + layout.size]

    def total(self, layout: Layout, cell: int) -> int:
        """One cell of *layout*, of all places together."""
        start = self._offsets[id(layout)] + cell
        return sum(self._cells[start :: self._width])

    def totals(self, layout: Layout) -> list[int]:
        """Every cell of *layout*, of all places together."""
        return [self.total(layout, cell) for cell in range(layout.size)]
