"""The health of the daemon as a whole, in numbers that its supervisor keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import STATE, Family, Layout
from faith.kernel.steering import METHODS

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
    "Whether connections are steered by this method.",
    STATE,
    label="way",
    values=METHODS,
)
REPAIRS = Family(
    "faith_repairs",
    "Times that somebody took away what the kernel had of us, and it was put back or not.",
    label="result",
    values=("repaired", "failed"),
)
DRAINING = Family("faith_draining", "Whether no new connections are taken any more.", STATE)
RELOADS = Family(
    "faith_reloads",
    "Times that the configuration was read again; a failed one changes nothing.",
    label="result",
    values=("good", "failed"),
)
LIFE = Layout(STARTED, WORKERS, RESTARTS, DRAINING)
"""The cells of every daemon."""
LAYOUT = Layout(*LIFE.families, PREFIXES, STEERING, REPAIRS, RELOADS)
"""The cells of a daemon that relays: those of every daemon, and more behind them."""

_STARTED, _WORKERS, _RESTARTS, _DRAINING = map(LIFE.start, LIFE.families)
_PREFIXES = LAYOUT.start(PREFIXES)
_STEERING, _REPAIRS, _RELOADS = map(LAYOUT.cells, (STEERING, REPAIRS, RELOADS))


class Life:
    """The health of a daemon, written by its supervisor in *cells* of `LIFE`, and read
    by others."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def started(self, when: float) -> None:
        """Set the Unix time at which the daemon started."""
        self._cells[_STARTED] = int(when)

    def serving(self, workers: int, restarts: int) -> None:
        """Set the number of workers that serve, and of those that replaced a dead one."""
        self._cells[_WORKERS] = workers
        self._cells[_RESTARTS] = restarts

    def drain(self) -> None:
        """Record that no new client is served from now on."""
        self._cells[_DRAINING] = 1

    def obstacles(self) -> Iterator[str]:
        """Return what keeps new clients from being served; nothing when they are served."""
        if self._cells[_DRAINING]:
            yield "draining"
        if not self._cells[_WORKERS]:
            yield "no worker serves"


class Condition(Life):
    """The health of a relay, written by its supervisor in *cells* of `LAYOUT`."""

    def steered(self, methods: Iterable[str], prefixes: int) -> None:
        """Set the steering methods in use, and the number of prefixes that are steered."""
        present = set(methods)
        for method, cell in _STEERING.items():
            self._cells[cell] = method in present
        self._cells[_PREFIXES] = prefixes

    def repaired(self, *, good: bool) -> None:
        """Count a repair of kernel state, *good* or failed."""
        self._cells[_REPAIRS["repaired" if good else "failed"]] += 1

    def reloaded(self, *, good: bool) -> None:
        """Count a reload of the configuration, *good* or failed."""
        self._cells[_RELOADS["good" if good else "failed"]] += 1

    def obstacles(self) -> Iterator[str]:
        """Return what keeps new connections from being served; nothing when they are served."""
        yield from super().obstacles()
        if not any(self._cells[cell] for cell in _STEERING.values()):
            yield "nothing is steered"
        if not self._cells[_PREFIXES]:
            yield "no prefix is reserved"
