"""The hand-over from one brain to that of another process: what is not in the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.flow.flow_ends import FlowEnds
    from faith.flow.flow_table import FlowTable


class BrainHandover:
    """Gives what a brain knows beside the maps, once it has stopped reading, or adopts it.

    The flows themselves are in the maps, which both processes have.  The adopter starts to read by
    *serve*, and looks through the maps then.
    """

    def __init__(self, table: FlowTable, ends: FlowEnds, serve: Callable[[], None]) -> None:
        self._table = table
        self._ends = ends
        self._serve = serve
        self.left = True
        """True until everything is given."""

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """Return the one lot there is."""
        if not self.left:
            return [], []
        self.left = False
        state = {
            "generation": self._table.generation,
            "ports": [[source.hex(), at] for source, at in self._table.ports.next.items()],
            "learned": [
                [number, generation, why]
                for number, (generation, why) in self._ends.learned.items()
                if self._table.maps.generation_of(number) == generation
            ],
        }
        return [state], []

    def adopt(self, states: list[Any], descriptors: list[int]) -> None:
        """Go on with a lot that another brain, or this one, has given."""
        self._serve()
        for state in states:
            self._table.keep_generation(state["generation"])
            self._table.ports.next.update(
                (bytes.fromhex(source), at) for source, at in state["ports"]
            )
            self._ends.learned.update(
                (number, (generation, why)) for number, generation, why in state["learned"]
            )
        self.left = True
