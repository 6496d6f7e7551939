"""Heartbeats: who is silent, or lags behind the desired state, is late, then killed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.peer import Desired, Worker

BEAT = 1.0
"""Seconds between two heartbeats."""
LATE = 3.0
"""Seconds without an answer, or behind the desired state, after which a process is late."""
LIMIT = 10.0
"""Seconds after which it is killed; one that is not ready yet is late then."""
START_LIMIT = 30.0
"""Seconds after which one is killed that is not ready yet."""


class Heartbeats:
    """Asks *workers*, by their processes, whether they are alive, while there are any.

    One that has not applied the newest *desired* state of a topic is sent it again.  *receive* is
    called with a worker, to handle what it has sent, before it is judged, and *on_late* when other
    workers than before are late.
    """

    def __init__(
        self,
        loop: Loop,
        workers: Mapping[int, Worker],
        desired: Mapping[str, Desired],
        receive: Callable[[Worker], None],
        on_late: Callable[[], object],
    ) -> None:
        self._on_late = on_late
        self.late: set[int] = set()
        """The processes that are late."""
        self._loop = loop
        self._workers = workers
        self._desired = desired
        self._receive = receive
        self._last = 0.0
        self._running = False

    def start(self) -> None:
        """Begin, unless that is done."""
        if not self._running:
            self._running = True
            self._last = time.monotonic()
            self._loop.later(BEAT, self._beat)

    def note_late(self) -> None:
        """Look who is late now."""
        now = time.monotonic()
        before = self.late
        self.late = {pid for pid, worker in self._workers.items() if _is_late(worker, now)}
        if self.late != before:
            self._on_late()

    def _beat(self) -> None:
        """Judge every worker by its answers, and ask again."""
        self._running = bool(self._workers)
        if not self._running:
            return
        self._loop.later(BEAT, self._beat)
        now = time.monotonic()
        halted = now - self._last > LATE  # this process was, or the machine: nobody could answer
        self._last = now
        for worker in list(self._workers.values()):
            self._receive(worker)
            if halted:
                worker.asked = worker.behind = None
            _judge(worker, now)
            worker.send_waiting()
            self._bring_up_to_date(worker, now)
            worker.beat(now)
        self.note_late()

    def _bring_up_to_date(self, worker: Worker, now: float) -> None:
        for topic, desired in self._desired.items():
            if worker.applied.get(topic, 0) != desired.generation and not worker.killed:
                worker.bring(topic, desired, now)


def _judge(worker: Worker, now: float) -> None:
    limit = LIMIT if worker.ready else START_LIMIT
    if worker.silence(now) >= limit:
        worker.kill(f"no heartbeat for {limit:g} s")
    elif worker.lag(now) >= limit:
        worker.kill(f"the newest rules or settings are not applied after {limit:g} s")


def _is_late(worker: Worker, now: float) -> bool:
    limit = LATE if worker.ready else LIMIT
    return worker.killed or max(worker.silence(now), worker.lag(now)) >= limit
