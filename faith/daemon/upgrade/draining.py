"""The workers of the predecessor process, until they have handed over their sessions."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from faith.daemon.process.messages import (
    Drain,
    Give,
    Kept,
    Killed,
    SessionList,
    Take,
    WantReport,
    supervisor_end,
)
from faith.daemon.process.peer import Worker
from faith.daemon.process.worker_pool import NO_EVENTS, PoolEvents, WorkerPool
from faith.kernel.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import Report
    from faith.daemon.process.reception import Handler

log = logging.getLogger("faith.supervisor")

RETRY = 1.0
"""Seconds until a worker hands over once more that could not."""
MOST_TRIES = 5
"""Times that a worker hands over; what is left then ends where it is."""
PATIENCE = 60.0
"""Seconds that it waits for an heir, after which nothing is tried any more."""


class DrainingWorkers:
    """The old workers, which still are children of this process.

    *handlers* handle their messages, *events* are those of their pool, and *kept* is called when
    all that are left keep their sessions to the end.
    """

    def __init__(
        self,
        loop: Loop,
        handlers: Mapping[type[Report], Handler],
        events: PoolEvents = NO_EVENTS,
        kept: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = loop
        self._all_kept = kept
        ours: dict[type[Report], Handler] = {
            SessionList: _ignore,
            Killed: _ignore,
            Kept: self._kept,
            WantReport: _ignore,
        }
        self.pool = WorkerPool(loop, _forks_none, {**ours, **handlers}, "old worker", events)
        self._heir: Callable[[int], Worker | None] = lambda number: None
        self._deadline = 0.0
        self._tries: dict[int, int] = {}
        self._keeping: dict[int, int] = {}

    def adopt(self, left: Iterable[Sequence[int]]) -> None:
        """Adopt the workers that :func:`as_left` described."""
        self.pool.adopt(
            Worker(
                number,
                pid,
                supervisor_end(socket.socket(fileno=fd)),
                time.monotonic(),
                ready=True,
                what="old worker",
            )
            for number, pid, fd in left
        )

    @property
    def hand_over_is_under_way(self) -> bool:
        """Return whether some are still to hand over."""
        return any(pid not in self._keeping for pid in self.pool.pids)

    @property
    def kept(self) -> int:
        """The sessions that could not be handed over, as their workers have said."""
        return sum(self._keeping.get(pid, 0) for pid in self.pool.pids)

    def hand_over(self, heir: Callable[[int], Worker | None]) -> None:
        """Have each of them hand over to the *heir* of its number, and end.

        Who could not hand over tries again, for the heir may have died, or had no room.
        """
        self._heir = heir
        self._deadline = time.monotonic() + PATIENCE
        for old in self.pool.workers:
            self._give(old)

    def _give(self, old: Worker) -> None:
        if old.pid not in self.pool.pids:
            return
        heir = self._heir(old.number)
        if heir is None:
            self._try_again(old, 0, failed=False)
            return
        try:
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            log.error("old worker %d cannot hand over: %s", old.pid, error.strerror)
            self._try_again(old, 0)
            return
        with ExitStack() as both:
            giving, taking = map(both.enter_context, pair)
            heir.send(Take(), [taking.fileno()])
            old.send(Give(), [giving.fileno()])

    def _kept(self, old: Worker, message: Kept, descriptors: list[int]) -> None:
        self._try_again(old, message.sessions)

    def _try_again(self, old: Worker, sessions: int, *, failed: bool = True) -> None:
        tries = self._tries[old.pid] = self._tries.get(old.pid, 0) + failed
        if tries < MOST_TRIES and time.monotonic() < self._deadline:
            self._loop.later(RETRY, partial(self._give, old))
            return
        old.send(Drain())
        self._keeping[old.pid] = sessions
        log.warning("old worker %d keeps its %d sessions to their end", old.pid, sessions)
        if not self.hand_over_is_under_way:
            self._all_kept()


def as_left(workers: Iterable[Worker]) -> list[tuple[int, int, Descriptor]]:
    """Return *workers* for an upgrade, fit for JSON: number, process and descriptor of each."""
    return [(worker.number, worker.pid, Descriptor.of(worker.channel)) for worker in workers]


def _ignore(worker: Worker, message: Any, descriptors: list[int]) -> None:
    """Ignore an answer to a question of the predecessor process."""


def _forks_none(number: int, channel: Any) -> NoReturn:
    raise AssertionError("the workers of another program are not replaced")
