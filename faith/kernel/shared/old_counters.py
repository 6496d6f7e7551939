"""The numbers of the program before this one, in the memory that its processes still write to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from faith.kernel.shared.families import STATE
from faith.kernel.shared.shared_counters import add
from faith.kernel.shared.shared_memory import Mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from faith.kernel.shared.families import Family, Layout


class Past:
    """What another program has *left* (`Area.state`), as *layouts* of this one have it.

    Numbers are found by the names of their families and labels: what that program did not count
    is 0, and what this one does not know any more is left out, as is a histogram of other bounds.
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
        """One cell of *layout*, of all processes together."""
        place = self._places[id(layout)][cell]
        return 0 if place is None else sum(self._cells[place :: self._width])

    def move(self, process: int, layout: Layout, cell: int, to: int) -> None:
        """Count what a *process* has in a cell of *layout* in another; it must be dead."""
        here, there = (self._places[id(layout)][one] for one in (cell, to))
        if here is not None and there is not None:
            start = process * self._width
            add(self._cells, start + there, self._cells[start + here])
            self._cells[start + here] = 0

    def state(self) -> Mapping[str, Any]:
        """What it was made of."""
        return self._left

    def descriptors(self) -> Iterator[int]:
        """The one in the state."""
        yield self._left["memory"]

    def forsake(self) -> None:
        """Let go of what the next program would need, and only read from now on."""
        self._mapping.only_read(self._left["memory"])
        os.close(self._left["memory"])


def _found(
    family: Family, families: Mapping[str, tuple[int, Sequence[str]]]
) -> Sequence[int | None]:
    """Where the other program has each cell of *family*, if anywhere."""
    if family.kind == STATE or family.name not in families:
        return [None] * family.size
    start, names = families[family.name]
    if family.bounds and list(family.names) != list(names):
        return [None] * family.size
    places = {name: start + number for number, name in enumerate(names)}
    return [places.get(name) for name in family.names]
