"""Old workers that hand over: once more when it fails, and to their end when it always does."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.channel import close_all
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import (
    Alive,
    Give,
    Heartbeat,
    Kept,
    ProcessChannel,
    Stop,
    supervisor_end,
)
from faith.daemon.process.peer import Worker
from faith.daemon.process.worker_pool import PoolEvents
from faith.daemon.upgrade import draining
from faith.daemon.upgrade.draining import DrainingWorkers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Upgraded:
    """A loop, old workers in it, and one place for an heir."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.over: list[int] = []
        self.predecessors = DrainingWorkers(
            self.loop,
            {},
            PoolEvents(empty=lambda: self.over.append(0)),
            lambda: self.over.append(self.predecessors.kept),
        )
        near, self.heir_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.heir = Worker(0, os.getpid(), supervisor_end(near), 0.0)
        self.heirs = [self.heir]

    def find(self, number: int) -> Worker | None:
        return self.heirs[number] if self.heirs else None

    def old(self, failures: int) -> int:
        """An old worker that fails so many times to hand over, and ends when it has."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            ours.close()
            hand_over(ProcessChannel(theirs), failures)
            os._exit(0)
        theirs.close()
        self.predecessors.adopt([(0, pid, ours.detach())])
        return pid

    def reap(self) -> None:
        while self.predecessors.pool.pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid or not self.predecessors.pool.reaped(pid, status):
                return

    def run_until(self, predicate: Callable[[], object]) -> None:
        deadline = time.monotonic() + 5
        while not predicate():
            assert time.monotonic() < deadline
            self.loop.later(0.01, self.loop.stop)
            self.loop.run()


def hand_over(channel: ProcessChannel, failures: int) -> None:
    while True:
        select.select([channel], [], [])
        received = channel.receive()
        if received is None or isinstance(received.message, Stop):
            return
        close_all(received.descriptors)
        if isinstance(received.message, Heartbeat):
            channel.send(Alive())
        if isinstance(received.message, Give):
            if not failures:
                return
            failures -= 1
            channel.send(Kept(3))


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upgraded]:
    monkeypatch.setattr(draining, "RETRY", 0.02)
    made = Upgraded()
    with made.loop.signals({signal.SIGCHLD: made.reap}):
        yield made
        made.predecessors.pool.kill()
    made.heir.close()
    made.heir_end.close()
    made.loop.close()


def test_who_could_not_hand_over_tries_again(upgraded: Upgraded) -> None:
    upgraded.old(failures=2)
    upgraded.predecessors.hand_over(upgraded.find)
    assert upgraded.predecessors.hand_over_is_under_way
    upgraded.run_until(lambda: upgraded.over)
    assert upgraded.over == [0]


def test_who_never_can_keeps_its_sessions_and_the_upgrade_is_over(
    upgraded: Upgraded, caplog: pytest.LogCaptureFixture
) -> None:
    pid = upgraded.old(failures=100)
    upgraded.predecessors.hand_over(upgraded.find)
    upgraded.run_until(lambda: upgraded.over)
    assert upgraded.over == [3]
    assert not upgraded.predecessors.hand_over_is_under_way
    assert upgraded.predecessors.pool.pids == [pid]
    assert f"old worker {pid} keeps its 3 sessions to their end" in caplog.text


def test_it_waits_for_an_heir_that_is_being_replaced(upgraded: Upgraded) -> None:
    upgraded.heirs.clear()
    upgraded.old(failures=0)
    upgraded.predecessors.hand_over(upgraded.find)
    upgraded.loop.later(0.2, lambda: upgraded.heirs.append(upgraded.heir))
    upgraded.run_until(lambda: upgraded.over)
    assert upgraded.over == [0]
