"""Counters of several processes in shared memory, summed without messages or locks.

Every process has a *slab* of its own in one piece of shared memory, and is its only writer.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, overload

from faith.kernel.descriptor import Descriptor
from faith.kernel.shared.families import COUNTER, HISTOGRAM, STATE, add, natural
from faith.kernel.shared.shared_memory import SharedMemory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from faith.kernel.shared.families import Cells, Family, Layout
    from faith.kernel.shared.old_counters import OldCounters


_WIDTH = 8  # octets of a cell: the kernel's pages keep them aligned
_MICRO = 1_000_000
_BOUND = 1 << 62


class Buckets:
    """A histogram among *cells*."""

    def __init__(self, cells: Cells, layout: Layout, family: Family) -> None:
        self._cells = cells
        self._bounds = family.bounds
        self._start = layout.start(family)
        self._sum = self._start + family.size - 1

    def add(self, seconds: float) -> None:
        """Count one value, in seconds."""
        cells = self._cells
        cells[self._start + bisect_left(self._bounds, seconds)] += 1
        cells[self._sum] += int(seconds * _MICRO)


@overload
def shared(form: Literal["q"], count: int) -> memoryview[int]: ...
@overload
def shared(form: Literal["d"], count: int) -> memoryview[float]: ...
def shared(form: Literal["q", "d"], count: int) -> memoryview[int] | memoryview[float]:
    """Return *count* integers ("q") or floats ("d") shared with the processes forked from this one.

    They start at 0, and take memory only once they have been written.
    """
    return memoryview(mmap.mmap(-1, count * _WIDTH)).cast(form)


class Area:
    """Slabs of *places* processes, each with room for *layouts*, starting at zero.

    The memory is freed with the last process that was forked from its maker.  Totals include the
    *old*: the counters of the predecessor process.
    """

    def __init__(
        self, layouts: Iterable[Layout], places: int, old: OldCounters | None = None
    ) -> None:
        self.layouts = tuple(layouts)
        self.places = places
        self._old = old
        *offsets, size = accumulate((one.size for one in self.layouts), initial=0)
        self._offsets = {id(one): start for one, start in zip(self.layouts, offsets, strict=True)}
        self._memory = SharedMemory("faith-numbers", size * _WIDTH, places)
        self._width = self._memory.stride // _WIDTH
        self._cells: memoryview[int] = self._memory.whole().cast("q")

    def slab(self, place: int, layout: Layout) -> memoryview[int]:
        """Return the cells of one process for *layout*."""
        start = place * self._width + self._offsets[id(layout)]
        return self._cells[start : start + layout.size]

    def enter(self, place: int | None) -> None:
        """In a forked process: write the slab of *place*, or none, and read the others.

        Numbers of a process that was there before are bounded: one more must always fit.
        """
        self._memory.enter(place)
        if place is not None:
            start = place * self._width
            for cell in range(start, start + self._width):
                if not 0 <= self._cells[cell] <= _BOUND:
                    self._cells[cell] = _BOUND if self._cells[cell] > 0 else 0

    def total(self, layout: Layout, cell: int) -> int:
        """Return one cell of *layout*, summed over all places; none takes from the others."""
        start = self._offsets[id(layout)] + cell
        before = 0 if self._old is None else self._old.total(layout, cell)
        return before + sum(natural(self._cells[start :: self._width]))

    def totals(self, layout: Layout) -> list[int]:
        """Return every cell of *layout*, summed over all places."""
        return [self.total(layout, cell) for cell in range(layout.size)]

    # -- upgrades ----------------------------------------------------------------------------

    def settle(self, old: OldCounters, place: int) -> None:
        """Add the totals of *old* counters that no process writes to any more to a *place*."""
        for layout in self.layouts:
            cells = self.slab(place, layout)
            for family in layout.families:
                if family.kind in (COUNTER, HISTOGRAM):
                    first = layout.start(family)
                    for cell in range(first, first + family.size):
                        add(cells, cell, old.total(layout, cell))

    def state(self) -> dict[str, Any]:
        """Return the state that an upgrade passes to the successor's `OldCounters`, fit
        for JSON."""
        families = {
            family.name: [self._offsets[id(layout)] + layout.start(family), family.names]
            for layout in self.layouts
            for family in layout.families
            if family.kind != STATE
        }
        return {"memory": Descriptor.of(self._memory), "width": self._width, "families": families}
