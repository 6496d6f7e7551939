"""The states of the processes of a pool, for the status report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.daemon.observe.roles import WORKER, numbered, role_of
from faith.daemon.observe.status_report import Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from faith.daemon.observe.process_slots import ProcessNumbers
    from faith.daemon.observe.status_report import ProcessState
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.worker_pool import WorkerPool

_OLD = "old worker"
"""The kind of the processes that a predecessor process has left."""


def processes(
    pool: WorkerPool, numbers: Mapping[str, ProcessNumbers], *, drains: bool
) -> Iterator[Process]:
    """Yield the processes of *pool*, and the places that wait for one.

    *numbers* are those of the roles; *drains* says that workers end with their last session.
    """
    now = time.monotonic()
    ends = pool.what == _OLD or (drains and pool.what == WORKER)
    late = {worker.pid for worker in pool.late}
    for worker in pool.workers:
        role = role_of(pool.what, worker.number) or numbered(pool.what, worker.number)
        state = _state(worker, is_late=worker.pid in late, drains=ends)
        heard = round(now - worker.heard, 1)
        replaced = round(now - worker.born, 1) if worker.replaces else None
        yield Process(role, worker.pid, state, heard, *_counts(numbers.get(role)), replaced)
    for number in pool.missing:
        role = role_of(pool.what, number) or numbered(pool.what, number)
        restarts, _, begun = _counts(numbers.get(role))
        yield Process(role, 0, "restarting", 0.0, restarts, 0, begun)


def _counts(numbers: ProcessNumbers | None) -> tuple[int, int, int]:
    """Return the restarts of a role, and what it has open and has begun."""
    return (numbers.restarts, numbers.open or 0, numbers.begun or 0) if numbers else (0, 0, 0)


def _state(worker: Worker, *, is_late: bool, drains: bool) -> ProcessState:
    if is_late:
        return "late"
    if not worker.ready:
        return "starting"
    return "draining" if drains else "serving"
