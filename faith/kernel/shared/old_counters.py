"""Counters of the predecessor process, in the memory that its children still write to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from faith.kernel.descriptor import Descriptor
from faith.kernel.shared.families import STATE, add, natural
from faith.kernel.shared.shared_memory import Mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from faith.kernel.shared.families import Family, Layout


class OldCounters:
    """The counters of another process, from its `Area.state`, by the *layouts* of this one.

    Cells are matched by the names of their families and labels: a cell that the other process did
    not have counts 0, and one that this process does not have is left out, as is a histogram with
    other bounds.
    """

    def __init__(self, left: Mapping[str, Any], layouts: Iterable[Layout]) -> None:
        self._left = left
        self._width: int = left["width"]
        self._mapping = Mapped(left["memory"], os.fstat(left["memory"]).st_size)
        self._cells: memoryview[int] = self._mapping.view().cast("q")
        families = left["families"]
        self._places = {
            id(layout): [place for one in layout.families for place in _found(one, families)]
            for layout in layouts
        }

    def total(self, layout: Layout, cell: int) -> int:
        """Return one cell of *layout*, summed over all processes."""
        place = self._places[id(layout)][cell]
        return 0 if place is None else sum(natural(self._cells[place :: self._width]))

    def move(self, process: int, layout: Layout, cell: int, to: int) -> None:
        """Add a *process*'s number in a cell of *layout* to another cell; the process
        must be dead."""
        here, there = (self._places[id(layout)][one] for one in (cell, to))
        if here is not None and there is not None:
            start = process * self._width
            add(self._cells, start + there, self._cells[start + here])
            self._cells[start + here] = 0

    def state(self) -> Mapping[str, Any]:
        """Return the state this was made of."""
        return {**self._left, "memory": Descriptor(self._left["memory"])}

    def only_read(self) -> None:
        """In a forked process: write nothing from now on."""
        self._mapping.only_read(self._left["memory"])

    def close(self) -> None:
        """Close the descriptor; the counters can only be read from now on."""
        self.only_read()
        os.close(self._left["memory"])


def _found(
    family: Family, families: Mapping[str, tuple[int, Sequence[str]]]
) -> Sequence[int | None]:
    """Return where the other process has each cell of *family*, None where it has none."""
    if family.kind == STATE or family.name not in families:
        return [None] * family.size
    start, names = families[family.name]
    if family.bounds and list(family.names) != list(names):
        return [None] * family.size
    places = {name: start + number for number, name in enumerate(names)}
    return [places.get(name) for name in family.names]
