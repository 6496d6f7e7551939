"""The liveness of all processes: who is late or lacks the newest state; systemd's watchdog."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.observe import own_numbers
from faith.daemon.observe.process_slots import ProcessState
from faith.daemon.observe.roles import SUPERVISOR
from faith.daemon.observe.status_report import WORKER
from faith.daemon.process import systemd
from faith.daemon.process.heartbeat import BEAT
from faith.daemon.process.process_states import processes
from faith.daemon.process.reaping import reap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.observe.status_report import Process
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.worker_pool import WorkerPool
    from faith.daemon.services.interface import Service

APPLIED = 8.0
"""Seconds to wait for processes to apply what is new: less than its patience."""
_LOOK = 0.02


class Liveness:
    """Looks after the processes of *services*, and keeps *metric_areas* up to date."""

    def __init__(
        self, loop: Loop, services: Collection[Service], metric_areas: MetricAreas
    ) -> None:
        self._loop = loop
        self._services = services
        self._metric_areas = metric_areas

    def start(self) -> None:
        """Report from now on who is late, and feed systemd's watchdog while nobody is."""
        self._keep_watchdog(systemd.watchdog_interval())
        self._look()

    @property
    def late(self) -> list[str]:
        """The names of the processes that are late."""
        return [worker.name for pool in self._pools() for worker in pool.late]

    def processes(self, *, drains: bool) -> Iterator[Process]:
        """Yield all processes, those that end when all *drains* included."""
        numbers = {one.role: one for one in self._metric_areas.slots}
        for pool in self._pools():
            yield from processes(pool, numbers, drains=drains)

    def when_applied(self, then: Callable[[list[str]], None], patience: float = APPLIED) -> None:
        """Call *then* when every process has applied what is new, or with those that have not."""
        behind = [worker.name for pool in self._pools() for worker in pool.behind]
        if not behind or patience <= 0:
            then(behind)
        else:
            self._loop.later(_LOOK, partial(self.when_applied, then, patience - _LOOK))

    def reap(self, *others: Callable[[int, int], bool]) -> None:
        """Reap the children that have ended; *others* are asked first, as in `reaping.reap`."""
        reap((*others, *(pool.reaped for pool in self._pools())))

    def _pools(self) -> list[WorkerPool]:
        return [pool for service in self._services for pool in service.pools()]

    def _keep_watchdog(self, interval: float) -> None:
        if interval:
            late = self.late
            if not late:
                systemd.notify("WATCHDOG=1")
            self._loop.later(BEAT if late else interval, partial(self._keep_watchdog, interval))

    def _look(self) -> None:
        areas = self._metric_areas
        late = [(pool.what, len(pool.late)) for pool in self._pools()]
        areas.condition.late(sum(count for _, count in late))
        areas.condition.others_late(sum(count for what, count in late if what != WORKER))
        areas.slots.judge(process_states(self._pools()))
        areas.dials.note(time.monotonic())
        own_numbers.own().note()
        self._loop.later(BEAT, self._look)


def process_states(pools: Iterable[WorkerPool]) -> Iterator[ProcessState]:
    """Yield the states of the processes of *pools* and of this one, their supervisor.

    Restarts are those since this was called last.
    """
    yield ProcessState(SUPERVISOR, True, 0)
    for pool in pools:
        able = {worker.number for worker in pool.able}
        restarts, pool.replaced = Counter(pool.replaced), []
        for number, role in pool.roles.items():
            yield ProcessState(role, number in able, restarts[number])
