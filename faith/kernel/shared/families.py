"""Families of counters, as Prometheus calls them, and where in memory the cells of each are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
STATE = "state"
"""A gauge that each program sets for itself, so that those of two are never added up."""


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
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """What tells its cells apart, in other programs as well."""
        return (*map(str, self.bounds), "above", "sum") if self.bounds else self.values


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
