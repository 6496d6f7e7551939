"""How the daemon as a whole is, in numbers that its supervisor keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import STATE, Family, Layout
from faith.kernel.steering import WAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.kernel.shared.shared_counters import Cells

ADMIN_PORT = 9064
"""The TCP port of the admin listener, where none is given."""

STARTED = Family("faith_start_time_seconds", "Unix time at which the daemon started.", STATE)
WORKERS = Family("faith_workers", "Workers that serve.", STATE)
RESTARTS = Family("faith_worker_restarts", "Workers that took the place of a dead one.")
PREFIXES = Family("faith_prefixes", "Reserved prefixes that are relayed from.", STATE)
STEERING = Family(
    "faith_steering",
    "Whether connections are brought in this way.",
    STATE,
    label="way",
    values=WAYS,
)
REPAIRS = Family(
    "faith_repairs",
    "Times that somebody took away what the kernel had of us, and it was put back or not.",
    label="result",
    values=("repaired", "failed"),
)
LATE = Family(
    "faith_processes_late",
    "Processes that do not answer, or have not applied the newest rules or settings.",
    STATE,
)
DRAINING = Family("faith_draining", "Whether no new connections are taken any more.", STATE)
RELOADS = Family(
    "faith_reloads",
    "Times that the configuration was read again; a failed one changes nothing.",
    label="result",
    values=("good", "failed"),
)
LIFE = Layout(STARTED, WORKERS, RESTARTS, DRAINING, LATE)
"""What there is to tell of any daemon."""
LAYOUT = Layout(*LIFE.families, PREFIXES, STEERING, REPAIRS, RELOADS)
"""What there is to tell of one that relays: the same, and more behind it."""

_STARTED, _WORKERS, _RESTARTS, _DRAINING, _LATE = map(LIFE.start, LIFE.families)
_PREFIXES = LAYOUT.start(PREFIXES)
_STEERING, _REPAIRS, _RELOADS = map(LAYOUT.cells, (STEERING, REPAIRS, RELOADS))


class Life:
    """Told by a supervisor, in *cells* of `LIFE`; read by whoever is asked how it is."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def started(self, when: float) -> None:
        """The daemon began at a Unix time."""
        self._cells[_STARTED] = int(when)

    def serving(self, workers: int, restarts: int) -> None:
        """So many workers serve now, and so many have taken a dead one's place."""
        self._cells[_WORKERS] = workers
        self._cells[_RESTARTS] = restarts

    def late(self, processes: int) -> None:
        """So many processes do not answer, or lag behind their desired state."""
        self._cells[_LATE] = processes

    def drain(self) -> None:
        """Nobody new is served from now on."""
        self._cells[_DRAINING] = 1

    def obstacles(self) -> Iterator[str]:
        """What keeps somebody new from being served; nothing when they are."""
        if self._cells[_DRAINING]:
            yield "draining"
        if not self._cells[_WORKERS]:
            yield "no worker serves"
        if late := self._cells[_LATE]:
            yield "1 process does not answer" if late == 1 else f"{late} processes do not answer"


class Condition(Life):
    """Told by the supervisor of a relay, in *cells* of `LAYOUT`."""

    def steered(self, ways: Iterable[str], prefixes: int) -> None:
        """Connections to so many *prefixes* are brought in, these *ways* and no others."""
        present = set(ways)
        for way, cell in _STEERING.items():
            self._cells[cell] = way in present
        self._cells[_PREFIXES] = prefixes

    def repaired(self, *, good: bool) -> None:
        """Something of ours was gone from the kernel, and is back again or not."""
        self._cells[_REPAIRS["repaired" if good else "failed"]] += 1

    def reloaded(self, *, good: bool) -> None:
        """The configuration was read again."""
        self._cells[_RELOADS["good" if good else "failed"]] += 1

    def obstacles(self) -> Iterator[str]:
        """What keeps new connections from being served; nothing when they are."""
        yield from super().obstacles()
        if not any(self._cells[cell] for cell in _STEERING.values()):
            yield "nothing is steered"
        if not self._cells[_PREFIXES]:
            yield "no prefix is reserved"
