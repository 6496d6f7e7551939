"""Counters of several processes in shared memory, summed without messages or locks.

Every process has a *slab* of its own in one piece of shared memory, and is its only writer.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, overload

from faith.kernel.shared.families import COUNTER, HISTOGRAM, STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableSequence
    from typing import Any

    from faith.kernel.shared.families import Family, Layout
    from faith.kernel.shared.old_counters import Past

    Cells = MutableSequence[int] | memoryview[int]
    """Counters; a list where no other process reads them."""

_WIDTH = 8  # octets of a cell: the kernel's pages keep them aligned
_MICRO = 1_000_000


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
    *past*: the counters of the predecessor process.
    """

    def __init__(self, layouts: Iterable[Layout], places: int, past: Past | None = None) -> None:
        self.layouts = tuple(layouts)
        self.places = places
        self._past = past
        *offsets, self._width = accumulate((one.size for one in self.layouts), initial=0)
        self._offsets = {id(one): start for one, start in zip(self.layouts, offsets, strict=True)}
        self._file = _memory(self._width * places * _WIDTH)
        self._cells = memoryview(mmap.mmap(self._file, 0)).cast("q")

    def slab(self, place: int, layout: Layout) -> memoryview[int]:
        """Return the cells of one process for *layout*."""
        start = place * self._width + self._offsets[id(layout)]
        return self._cells[start : start + layout.size]

    def total(self, layout: Layout, cell: int) -> int:
        """Return one cell of *layout*, summed over all places."""
        start = self._offsets[id(layout)] + cell
        before = 0 if self._past is None else self._past.total(layout, cell)
        return before + sum(self._cells[start :: self._width])

    def totals(self, layout: Layout) -> list[int]:
        """Return every cell of *layout*, summed over all places."""
        return [self.total(layout, cell) for cell in range(layout.size)]

    # -- upgrades ----------------------------------------------------------------------------

    def settle(self, past: Past) -> None:
        """Add the totals of a *past* that no process writes to any more to the first place."""
        for layout in self.layouts:
            cells = self.slab(0, layout)
            for family in layout.families:
                if family.kind in (COUNTER, HISTOGRAM):
                    first = layout.start(family)
                    for cell in range(first, first + family.size):
                        cells[cell] += past.total(layout, cell)

    def state(self) -> dict[str, Any]:
        """Return the state that an upgrade passes to the successor's `OldCounters`, fit
        for JSON."""
        families = {
            family.name: [self._offsets[id(layout)] + layout.start(family), family.names]
            for layout in self.layouts
            for family in layout.families
            if family.kind != STATE
        }
        return {"memory": self._file, "width": self._width, "families": families}

    def descriptors(self) -> Iterator[int]:
        """Return the descriptor in the state."""
        yield self._file

    def forsake(self) -> None:
        """Close in a child what only the maker needs."""
        os.close(self._file)


def _memory(size: int) -> int:
    """Return a memory file of *size* zeros, sealed against shrinking and growing."""
    descriptor = os.memfd_create("faith-numbers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor
