"""The metric families of the log, which every process of a daemon has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import GAUGE, Family, Layout, add

if TYPE_CHECKING:
    from faith.kernel.shared.families import Cells

LOST_LINES = Family(
    "faith_log_lost", "Log lines, records among them, that could not be written or kept."
)
WAITING_LINES = Family(
    "faith_log_waiting", "Log lines that wait until their receiver has room for them.", GAUGE
)
LAYOUT = Layout(LOST_LINES, WAITING_LINES)

LOST, WAITING = LAYOUT.start(LOST_LINES), LAYOUT.start(WAITING_LINES)
"""The index of the one cell of each family."""


def own_cells() -> list[int]:
    """Return cells of `LAYOUT` that no other process reads."""
    return [0] * LAYOUT.size


def settle(cells: Cells) -> None:
    """Count the lines that waited in *cells* as lost: their process has ended."""
    add(cells, LOST, cells[WAITING])
    cells[WAITING] = 0
