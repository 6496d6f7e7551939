"""The states of the processes of a pool, as the status report has them."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.observe.process_slots import ProcessNumbers
from faith.daemon.process import heartbeat, worker_pool
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import Alive, ProcessChannel, Ready
from faith.daemon.process.process_states import processes
from faith.daemon.process.reaping import reap
from faith.daemon.process.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.observe.status_report import Process


def obey(number: int, channel: ProcessChannel) -> None:
    """Be ready, but for the second, and answer heartbeats until the other end is closed."""
    if number != 1:
        channel.send(Ready())
    while True:
        select.select([channel], [], [])
        if channel.receive() is None:
            return
        channel.send(Alive())


class Crew:
    """A pool of two workers and its loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.pool = WorkerPool(self.loop, obey, {})
        self.pool.start(2, lambda: None)
        self.pool._starting = False  # the second is never ready

    def seen(self, *, drains: bool = False) -> list[Process]:
        """The processes; each has its number open, and ten times that begun."""
        numbers = {f"worker {n + 1}": of_place(n, self.pool.replaced.count(n)) for n in (0, 1)}
        return list(processes(self.pool, numbers, drains=drains))

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, self.seen()
            reap([self.pool.reaped])
            self.loop.later(0.01, self.loop.stop)
            self.loop.run()

    def states(self) -> list[str]:
        return [one.state for one in self.seen()]


def of_place(number: int, restarts: int) -> ProcessNumbers:
    return ProcessNumbers("", True, 0, restarts, 0, 0, 0, 0, 0, 0, number, 10 * number, ())


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr(heartbeat, "BEAT", 0.02)
    monkeypatch.setattr(heartbeat, "LATE", 0.1)
    monkeypatch.setattr(worker_pool, "SHORTEST_PAUSE", 0.1)
    crew = Crew()
    yield crew
    crew.pool.kill()
    crew.loop.close()


def test_a_process_starts_serves_and_drains(crew: Crew) -> None:
    crew.wait(lambda: crew.states() == ["serving", "starting"])
    first, second = crew.seen()
    assert (first.role, first.pid, first.open, first.begun) == ("worker 1", crew.pool.pids[0], 0, 0)
    assert (second.role, second.open, second.begun) == ("worker 2", 1, 10)
    assert [one.state for one in crew.seen(drains=True)] == ["draining", "starting"]


def test_a_process_that_hangs_is_late_and_how_long_it_is_silent_is_told(crew: Crew) -> None:
    crew.wait(lambda: crew.states()[0] == "serving")
    os.kill(crew.pool.pids[0], signal.SIGSTOP)
    crew.wait(lambda: crew.states()[0] == "late")
    assert crew.seen()[0].heard >= 0.1


def test_a_place_waits_for_another_process_and_counts_it(crew: Crew) -> None:
    crew.wait(lambda: crew.states()[0] == "serving")
    dead = crew.pool.pids[0]
    os.kill(dead, signal.SIGKILL)
    crew.wait(lambda: "restarting" in crew.states())
    waiting = crew.seen()[-1]
    assert (waiting.role, waiting.pid, waiting.restarts) == ("worker 1", 0, 0)
    crew.wait(lambda: crew.states()[0] == "serving")
    first, second = crew.seen()
    assert first.pid != dead
    assert (first.restarts, second.restarts) == (1, 0)
    assert first.replaced is not None
    assert second.replaced is None
    crew.pool.retire()
    os.kill(first.pid, signal.SIGKILL)
    crew.wait(lambda: len(crew.seen()) == 1)
