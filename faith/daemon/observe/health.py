"""The health of the daemon as a whole, in numbers that its supervisor keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.kernel.shared.families import STATE, Family, Layout
from faith.kernel.steering import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.kernel.shared.families import Cells

ADMIN_PORT = 9064
"""The TCP port of the admin listener, where none is given."""

STARTED = Family("faith_start_time_seconds", "Unix time at which the daemon started.", STATE)
WORKERS = Family("faith_workers", "Workers that serve.", STATE)
RESTARTS = Family("faith_worker_restarts", "Workers that replaced a dead one.")
PREFIXES = Family("faith_prefixes", "Reserved prefixes that are relayed.", STATE)
STEERING = Family(
    "faith_steering",
    "Whether connections are steered by this method.",
    STATE,
    label="way",
    values=METHODS,
)
REPAIRS = Family(
    "faith_repairs",
    "Repairs of kernel state that another program removed, by result.",
    label="result",
    values=("repaired", "failed"),
)
LATE = Family(
    "faith_processes_late",
    "Processes that do not answer, or have not applied the newest rules or settings.",
    STATE,
)
DRAINING = Family("faith_draining", "1 once no new connections are accepted.", STATE)
LAME_DUCK = Family(
    "faith_lame_duck", "1 while new connections are accepted for the last time.", STATE
)
RELOADS = Family(
    "faith_reloads",
    "Reloads of the configuration, by result; a failed one changes nothing.",
    label="result",
    values=("good", "failed"),
)
NEEDED = Family(
    "faith_workers_needed", "Workers that have to answer for the daemon to be ready.", STATE
)
ABLE = Family("faith_workers_able", "Workers that serve and answer.", STATE)
OTHERS_LATE = Family(
    "faith_other_processes_late", "Processes other than workers that do not answer.", STATE
)
FAILING = Family("faith_probes_failing", "Probes of readiness that fail.", STATE)
RELOADED = Family(
    "faith_last_reload_successful",
    "1 if the configuration was applied when it was read last, 0 if it was refused.",
    STATE,
)
GOOD_RELOAD = Family(
    "faith_last_good_reload_time_seconds",
    "Unix time at which a configuration was last applied, by a start, a reload or an upgrade.",
    STATE,
)
UPGRADES = Family(
    "faith_upgrades",
    "Upgrades to another program, by result; a failed one changes nothing.",
    label="result",
    values=("good", "failed"),
)
PROXIES = Family("faith_proxies", "Proxies that clients can ask for servers.", STATE)
COMMON = Layout(STARTED, WORKERS, RESTARTS, DRAINING, LATE)
"""The cells of every daemon."""
LAYOUT = Layout(
    *(*COMMON.families, PREFIXES, STEERING, REPAIRS, RELOADS, LAME_DUCK),
    *(NEEDED, ABLE, OTHERS_LATE, FAILING),
    *(RELOADED, GOOD_RELOAD, UPGRADES, PROXIES),
)
"""The cells of a daemon that relays: those of every daemon, and more behind them."""

_STARTED, _WORKERS, _RESTARTS, _DRAINING, _LATE = map(COMMON.start, COMMON.families)
_PREFIXES, _LAME_DUCK, _PROXIES = map(LAYOUT.start, (PREFIXES, LAME_DUCK, PROXIES))
_NEEDED, _ABLE, _OTHERS_LATE, _FAILING = map(LAYOUT.start, (NEEDED, ABLE, OTHERS_LATE, FAILING))
_RELOADED, _GOOD_RELOAD = map(LAYOUT.start, (RELOADED, GOOD_RELOAD))
_STEERING, _REPAIRS, _RELOADS = map(LAYOUT.cells, (STEERING, REPAIRS, RELOADS))
_UPGRADES = LAYOUT.cells(UPGRADES)


class Health:
    """The health of a daemon, written by its supervisor in *cells* of `COMMON`, and read
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

    def late(self, processes: int) -> None:
        """So many processes do not answer, or lag behind their desired state."""
        self._cells[_LATE] = processes

    def drain(self, *, drains: bool = True) -> None:
        """Record that no new client is served from now on, or that they are served again."""
        self._cells[_DRAINING] = drains

    def obstacles(self) -> Iterator[str]:
        """Return what keeps new clients from being served; nothing when they are served."""
        if self._cells[_DRAINING]:
            yield "draining"
        if not self._cells[_WORKERS]:
            yield "no worker serves"
        if late := self._late_ones():
            yield "1 process does not answer" if late == 1 else f"{late} processes do not answer"

    @property
    def failing_probes(self) -> int:
        """The number of probes of readiness that fail: only a relay has some."""
        return 0

    def _late_ones(self) -> int:
        """Return how many processes keep the daemon from being ready because they are late."""
        return self._cells[_LATE]


class RelayHealth(Health):
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

    def configured(self) -> None:
        """Record that a configuration was applied at this moment."""
        self._cells[_RELOADED] = 1
        self._cells[_GOOD_RELOAD] = int(time.time())

    def proxies(self, count: int) -> None:
        """Set the number of proxies that clients can ask for servers."""
        self._cells[_PROXIES] = count

    @property
    def repairs(self) -> tuple[int, int]:
        """The good and the failed repairs of kernel state."""
        good, failed = (self._cells[cell] for cell in _REPAIRS.values())
        return good, failed

    def reloaded(self, *, good: bool) -> None:
        """Count a reload of the configuration, *good* or failed."""
        self._cells[_RELOADS["good" if good else "failed"]] += 1
        if good:
            self.configured()
        else:
            self._cells[_RELOADED] = 0

    def upgraded(self, *, good: bool) -> None:
        """Count an upgrade to another program, *good* or failed."""
        self._cells[_UPGRADES["good" if good else "failed"]] += 1

    def need(self, workers: int) -> None:
        """Be ready with so many workers that answer, whatever the others do; 0 is all of them."""
        self._cells[_NEEDED] = workers

    def able(self, workers: int) -> None:
        """Set the number of workers that serve and answer."""
        self._cells[_ABLE] = workers

    def others_late(self, processes: int) -> None:
        """So many processes other than workers are late."""
        self._cells[_OTHERS_LATE] = processes

    def failing(self, probes: int) -> None:
        """So many probes of readiness fail."""
        self._cells[_FAILING] = probes

    @property
    def failing_probes(self) -> int:
        """The number of probes of readiness that fail."""
        return self._cells[_FAILING]

    @property
    def quorum(self) -> tuple[int, int]:
        """The workers that are needed, 0 for all, and those that answer."""
        return self._cells[_NEEDED], self._cells[_ABLE]

    def _late_ones(self) -> int:
        return self._cells[_OTHERS_LATE if self._cells[_NEEDED] else _LATE]

    def lame_duck(self, *, on: bool) -> None:
        """Record whether new connections are served for the last time."""
        self._cells[_LAME_DUCK] = on

    def obstacles(self) -> Iterator[str]:
        """Return why no new connections should come here; nothing when they are served."""
        yield from super().obstacles()
        needed, able = self.quorum
        if able < needed and self._cells[_WORKERS]:
            yield f"{able} of the {needed} workers that are needed answer"
        if failing := self.failing_probes:
            yield "1 probe fails" if failing == 1 else f"{failing} probes fail"
        if self._cells[_LAME_DUCK]:
            yield "lame duck: it drains soon"
        if not any(self._cells[cell] for cell in _STEERING.values()):
            yield "nothing is steered"
        if not self._cells[_PREFIXES] and not self._cells[_PROXIES]:
            yield "no prefix is reserved"
