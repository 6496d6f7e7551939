"""Metric families, in the terms of Prometheus, and the layout of their cells in memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

    Cells = MutableSequence[int] | memoryview[int]
    """Counters; a list where no other process reads them."""

_MOST = (1 << 63) - 1

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
STATE = "state"
"""A gauge that each process sets for itself and that is never summed over an upgrade."""


@dataclass(frozen=True)
class Family:
    """A metric family of one *name* and *kind*, with one *label* at most.

    There is a cell for each of *values*.  A histogram has a cell for each of *bounds*, the upper
    bounds of its buckets in seconds, one for values above them all, and one for the sum (in µs).
    """

    name: str
    help: str
    kind: str = COUNTER
    label: str = ""
    values: tuple[str, ...] = ("",)
    bounds: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """The number of cells."""
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the cells, which are the same in other versions of the program."""
        return (*map(str, self.bounds), "above", "sum") if self.bounds else self.values


class Layout:
    """The positions of the cells of *families* in a slab."""

    def __init__(self, *families: Family) -> None:
        self.families = families
        *starts, self.size = accumulate((family.size for family in families), initial=0)
        self._starts = {family.name: start for family, start in zip(families, starts, strict=True)}

    def start(self, family: Family) -> int:
        """Return the index of the first cell of *family*."""
        return self._starts[family.name]

    def cells(self, family: Family) -> dict[str, int]:
        """Return the index of the cell of each of *family*'s values."""
        return {value: self.start(family) + n for n, value in enumerate(family.values)}

    def of(self, family: Family, cells: Sequence[int]) -> Sequence[int]:
        """Return the numbers of *family* among *cells*."""
        return cells[self.start(family) : self.start(family) + family.size]


def natural(cells: Sequence[int]) -> list[int]:
    """Return the numbers in *cells*, none below 0: what another process has written is not
    trusted."""
    return [max(0, number) for number in cells]


def add(cells: Cells, cell: int, count: int) -> None:
    """Add *count* to a cell, as far as it goes: what another process has written is not trusted."""
    cells[cell] = max(0, min(cells[cell] + count, _MOST))
