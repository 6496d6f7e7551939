"""The workers of a supervisor: forked, kept in their desired state, and replaced when they die.

Each is sent the desired state of every topic, and answers with the generations that it has
applied.  Who lags is sent it again, and who is silent is killed: `faith.daemon.process.heartbeat`.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from faith.daemon.observe import log as log_output
from faith.daemon.observe.roles import role_of
from faith.daemon.process import role
from faith.daemon.process.fork import fork, how_it_ended
from faith.daemon.process.heartbeat import Heartbeats
from faith.daemon.process.messages import LONGEST_REASON, Alive, Failed, Ready, pair
from faith.daemon.process.peer import Desired, Worker
from faith.daemon.process.reception import Reception
from faith.errors import FaithError, SetupError
from faith.translation.typography import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import Order, ProcessChannel, Report
    from faith.daemon.process.reception import Handler

log = logging.getLogger("faith.supervisor")

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds before a worker is replaced: doubled every time, until one has lived for the longest.

Connections of its listeners wait no longer than that, even where no other worker serves them.
"""

_STEP = "start a worker"


def _ignore(*about: object) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class PoolEvents:
    """Callbacks of a pool of workers."""

    serving: Callable[[], object] = _ignore
    """Called whenever a worker has begun to serve."""
    late: Callable[[], object] = _ignore
    """Called when other workers than before are late."""
    ended: Callable[[Worker], object] = _ignore
    """Called with every worker that has ended, before it is replaced."""
    empty: Callable[[], object] = _ignore
    """Called when the last worker has ended after :meth:`WorkerPool.retire`."""


NO_EVENTS = PoolEvents()


class WorkerPool:
    """Workers, as many as asked for.

    *work* is called with a place and a channel in a new process, which ends when it returns; it
    has everything that this process has open, and is to keep what it needs (`close_others`).
    *handlers* are called, by the message's type, with what a worker sends.  *what* they are is said
    in messages.
    """

    def __init__(
        self,
        loop: Loop,
        work: Callable[[int, ProcessChannel], None],
        handlers: Mapping[type[Report], Handler],
        what: str = "worker",
        events: PoolEvents = NO_EVENTS,
    ) -> None:
        self.restarts = 0
        """Workers that have taken the place of a dead one."""
        self.replaced: list[int] = []
        """The places of these, for whoever counts them, and takes them out."""
        self._loop = loop
        self._work = work
        self.what = what
        """The kind of its processes, in messages."""
        self._events = events
        own: dict[type[Report], Handler] = {
            Ready: self._ready,
            Failed: self._failed,
            Alive: self._alive,
        }
        self._reception = Reception(loop, {**own, **handlers}, lambda: self._starting)
        self._workers: dict[int, Worker] = {}
        self._pauses: list[float] = []
        self._on_ready: Callable[[], None] = _ignore
        self._on_failure: Callable[[SetupError], None] = _give_up
        self._starting = True
        self._retired = False
        self._desired: dict[str, Desired] = {}
        self._heartbeats = Heartbeats(
            loop, self._workers, self._desired, self._reception.some, events.late
        )

    def start(
        self,
        count: int,
        on_ready: Callable[[], None],
        on_failure: Callable[[SetupError], None] | None = None,
    ) -> None:
        """Fork *count* workers; *on_ready* is called when all of them serve.

        Raises SetupError, from here or, when one of them fails before that, from the loop; in the
        second case *on_failure* is called instead, if it is given.
        """
        self._pauses = [0.0] * count
        self._on_ready = on_ready
        self._on_failure = on_failure or _give_up
        for number in range(count):
            try:
                self._spawn(number)
            except OSError as error:
                raise SetupError(_STEP, str(error.strerror)) from error

    def adopt(self, workers: Iterable[Worker]) -> None:
        """Adopt *workers* that the predecessor process forked; none is replaced when it ends."""
        self._starting = False
        self._retired = True
        for worker in workers:
            self._add(worker)

    @property
    def workers(self) -> list[Worker]:
        """The living workers, ordered by number."""
        return sorted(self._workers.values(), key=attrgetter("number"))

    @property
    def roles(self) -> dict[int, str]:
        """The roles in which there is a process, or is soon to be one again, by its place."""
        numbers = {worker.number for worker in self._workers.values()}
        if not self._retired:
            numbers.update(range(len(self._pauses)))
        known = ((number, role_of(self.what, number)) for number in sorted(numbers))
        return {number: name for number, name in known if name}

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return list(self._workers)

    @property
    def missing(self) -> list[int]:
        """The places whose worker has died, and is to be replaced."""
        there = {worker.number for worker in self._workers.values()}
        places = () if self._retired else range(len(self._pauses))
        return [number for number in places if number not in there]

    @property
    def serving(self) -> int:
        """How many of them serve."""
        return sum(worker.ready for worker in self._workers.values())

    @property
    def late(self) -> list[Worker]:
        """The workers silent, or behind the desired state, for longer than `heartbeat.LATE`."""
        return [worker for worker in self.workers if worker.pid in self._heartbeats.late]

    @property
    def behind(self) -> list[Worker]:
        """The workers that have not applied the newest state that binds them."""
        return [worker for worker in self.workers if worker.behind is not None]

    @property
    def able(self) -> list[Worker]:
        """The workers that serve and are not late."""
        return [one for one in self.workers if one.ready and one.pid not in self._heartbeats.late]

    def able_in(self, number: int) -> Worker | None:
        """Return the worker in place *number* if it serves and is not late, or None."""
        return next((one for one in self.able if one.number == number), None)

    def tell(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        """Send *order* to every worker."""
        for worker in self._workers.values():
            worker.send(order, descriptors)

    def desire(
        self,
        topic: str,
        whole: Callable[[], str] = str,
        change: Callable[[], str] | None = None,
        descriptors: Callable[[int], Iterable[int]] = lambda number: (),
        *,
        binding: bool = True,
    ) -> None:
        """Have every worker apply another state of *topic*: see `Desired`.

        A worker that is forked from now on begins with it.
        """
        before = self._desired.get(topic)
        generation = before.generation + 1 if before else 1
        desired = Desired(generation, whole, change, descriptors, binding)
        self._desired[topic] = desired
        now = time.monotonic()
        for worker in self._workers.values():
            worker.bring(topic, desired, now)

    def retire(self) -> None:
        """Replace no worker from now on."""
        self._retired = True
        if not self._workers:
            self._events.empty()

    def resume(self) -> None:
        """Replace workers again, after `retire`, and start those that are missing."""
        self._retired = False
        for number in range(len(self._pauses)):
            self._start_in(number)

    def kill(self) -> None:
        """End the workers at once; they are reaped when this returns.

        Those that need CAP_KILL, where that is missing, end with their last session.
        """
        while self._workers:
            pid, worker = self._workers.popitem()
            if worker.end():
                os.waitpid(pid, 0)
            self._let_go(worker)

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a process that ended, as waitpid(2) told; False when it is no worker."""
        worker = self._workers.pop(pid, None)
        if worker is None:
            return False
        worker.killed = True  # never by its number from now on: that may be another's
        try:
            while self._reception.one(worker):
                pass  # its last words come before the news of its death
        finally:
            self._let_go(worker)
        self._heartbeats.note_late()
        self._events.ended(worker)
        if self._retired:
            self.retire()
        elif self._starting:
            self._on_failure(SetupError(_STEP, how_it_ended(status)))
        else:
            self._mourn(worker, how_it_ended(status))
        return True

    # -- a worker's life ---------------------------------------------------------------------

    def _spawn(self, number: int) -> None:
        applied = {topic: desired.generation for topic, desired in self._desired.items()}
        ours, theirs = pair(applied)
        try:
            pid = fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if not pid:
            ours.close()
            self._be(number, theirs)
        theirs.close()
        now = time.monotonic()
        self._add(
            Worker(
                number, pid, ours, now, what=self.what, sent=dict(applied), applied=dict(applied)
            )
        )

    def _add(self, worker: Worker) -> None:
        self._workers[worker.pid] = worker
        self._loop.watch(worker.channel, partial(self._reception.some, worker))
        self._heartbeats.start()

    def _be(self, number: int, channel: ProcessChannel) -> None:
        """Be a worker, and nothing after that."""
        status = 1
        try:
            role.adopt(role.of_pool(self.what, number))
            self._work(number, channel)
            status = 0
        except Exception as error:
            if not isinstance(error, FaithError):
                log.exception("this %s failed", self.what)
            with suppress(OSError):  # the supervisor is gone
                channel.send(Failed(str(error)[:LONGEST_REASON]))
        finally:
            log_output.finish()
            os._exit(status)

    def _mourn(self, worker: Worker, how: str) -> None:
        lived = time.monotonic() - worker.born
        pause = self._pauses[worker.number] = next_pause(self._pauses[worker.number], lived)
        text = "%s %d %s; another takes its place in %g s"
        log.error(text, self.what, worker.pid, how, pause)
        self._loop.later(pause, partial(self._replace, worker.number))

    def _replace(self, number: int) -> None:
        if not self._retired and self._start_in(number):
            self.restarts += 1
            self.replaced.append(number)
            next(one for one in self.workers if one.number == number).replaces = True

    def _start_in(self, number: int) -> bool:
        """Start a worker in place *number* unless there is one; return whether it was done."""
        if any(worker.number == number for worker in self._workers.values()):
            return False
        try:
            self._spawn(number)
        except OSError as error:
            log.error("no %s can be started: %s", self.what, error.strerror)
            self._loop.later(LONGEST_PAUSE, partial(self._replace, number))
            return False
        return True

    def _let_go(self, worker: Worker) -> None:
        self._loop.forget(worker.channel)
        worker.close()

    # -- what workers say --------------------------------------------------------------------

    def _ready(self, worker: Worker, message: Ready, descriptors: list[int]) -> None:
        worker.ready = True
        self._events.serving()
        if self._starting and all(worker.ready for worker in self._workers.values()):
            self._starting = False
            self._loop.later(0, self._on_ready)  # what fails there is no message's fault

    def _failed(self, worker: Worker, message: Failed, descriptors: list[int]) -> None:
        why = printable(message.why)
        if self._starting:
            self._on_failure(SetupError(_STEP, why))
            return
        log.error("%s %d: %s", self.what, worker.pid, why)

    def _alive(self, worker: Worker, message: Alive, descriptors: list[int]) -> None:
        worker.answered(message, time.monotonic())
        worker.send_waiting()
        if all(
            worker.applied.get(topic, 0) == desired.generation
            for topic, desired in self._desired.items()
            if desired.binding
        ):
            worker.behind = None


def _give_up(error: SetupError) -> None:
    raise error


def next_pause(before: float, lived: float) -> float:
    """Seconds until one that *lived* so long is replaced; the pause *before* its life was this."""
    if lived >= LONGEST_PAUSE:
        return SHORTEST_PAUSE
    return min(2 * before, LONGEST_PAUSE) or SHORTEST_PAUSE
