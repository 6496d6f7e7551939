"""The numbers of a process about itself: its usage, and how full its tables are.

Each process writes them into its slab with its heartbeat, once a second, so that whoever shows
them needs no right to look at other processes.  The supervisor writes there whether it is *up*, and
how often another process has taken its place.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from faith.kernel.process.process_usage import OwnUsage
from faith.kernel.shared.families import STATE, Family, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.kernel.shared.families import Cells

    Fill = Callable[[], tuple[int, int]]
    """Returns how many places of a table are taken, and how many there are (0 for no limit)."""

TABLES = (
    "sessions",
    "session places",
    "source ports",
    "local servers",
    "flows",
    "half-open flows",
    "udp flows",
    "ping identifiers",
    "look-ups",
    "streams",
    "pool leases",
)
"""The tables and limits that are reported, as they are named everywhere."""
SHARED_OUT = frozenset(TABLES) - {"sessions", "half-open flows"}
"""The tables of which each client has a share, once more than half of the places are taken."""

NO_LIMIT = 1 << 40
"""A limit from which on there is none."""

STARTED = Family("started", "Unix time in microseconds.", STATE)
PID = Family("pid", "Process number; 0 where there is no process.", STATE)
HEARD = Family("heard", "Monotonic time of the last heartbeat, in microseconds.", STATE)
CPU = Family("cpu", "Processor time in microseconds.", STATE)
MEMORY = Family("memory", "Resident octets.", STATE)
DESCRIPTORS = Family("descriptors", "Open descriptors.", STATE)
MOST_DESCRIPTORS = Family("most descriptors", "Their limit.", STATE)
UP = Family("up", "By the supervisor: 0 no such process is wanted, 1 down, 2 up.", STATE)
RESTARTS = Family("restarts", "By the supervisor: processes that replaced a dead one.", STATE)
TAKEN = Family("taken", "Places taken of each table.", STATE, label="limit", values=TABLES)
PLACES = Family("places", "Places of each table.", STATE, label="limit", values=TABLES)
PRESENT = Family("present", "1 for a table that is there.", STATE, label="limit", values=TABLES)
LAYOUT = Layout(
    *(STARTED, PID, HEARD, CPU, MEMORY, DESCRIPTORS, MOST_DESCRIPTORS, UP, RESTARTS),
    *(TAKEN, PLACES, PRESENT),
)
"""The cells of every process; they are no metrics, and never summed."""

ABSENT, DOWN, IS_UP = 0, 1, 2
"""The values of `UP`."""

_STARTED, _PID, _HEARD, _CPU = map(LAYOUT.start, (STARTED, PID, HEARD, CPU))
_MEMORY, _DESCRIPTORS = LAYOUT.start(MEMORY), LAYOUT.start(DESCRIPTORS)
_MOST_DESCRIPTORS = LAYOUT.start(MOST_DESCRIPTORS)
_TAKEN, _PLACES, _PRESENT = map(LAYOUT.cells, (TAKEN, PLACES, PRESENT))
_MICRO = 1_000_000


class OwnNumbers:
    """The numbers of this process, written into *cells* of `LAYOUT`."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._usage = OwnUsage()
        self.fills: dict[str, Fill] = {}
        """How full each table of this process is, one of `TABLES`."""
        self._others: list[Callable[[], object]] = []
        for table in TABLES:
            cells[_PRESENT[table]] = 0
        cells[_STARTED] = int(time.time() * _MICRO)
        cells[_PID] = os.getpid()

    def also(self, note: Callable[[], object]) -> None:
        """Call *note* with every heartbeat, to write other numbers."""
        self._others.append(note)

    def note(self) -> None:
        """Write all numbers."""
        cells, now = self._cells, time.monotonic()
        usage = self._usage.look(now)
        cells[_HEARD], cells[_CPU] = int(now * _MICRO), int(usage.cpu * _MICRO)
        cells[_MEMORY], cells[_DESCRIPTORS] = usage.memory, usage.descriptors
        cells[_MOST_DESCRIPTORS] = usage.most_descriptors
        for table, fill in self.fills.items():
            taken, places = fill()
            cells[_TAKEN[table]] = taken
            cells[_PLACES[table]] = places if places < NO_LIMIT else 0
            cells[_PRESENT[table]] = 1
        for note in self._others:
            note()


_own = OwnNumbers([0] * LAYOUT.size)


def write_in(cells: Cells) -> OwnNumbers:
    """Write the numbers of this process into *cells* of `LAYOUT` from now on; return them."""
    global _own
    _own = OwnNumbers(cells)
    _own.note()
    return _own


def own() -> OwnNumbers:
    """Return the numbers of this process; nobody reads them before `write_in`."""
    return _own
