"""The pool: workers forked, replaced when they die, told what to do."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process import heartbeat
from faith.daemon.process import peer as peer_module
from faith.daemon.process import worker_pool as pool_module
from faith.daemon.process.channel import from_memory
from faith.daemon.process.fork import how_it_ended
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import (
    Alive,
    Drain,
    Failed,
    Heartbeat,
    Kill,
    Killed,
    Ready,
    State,
    Steer,
    Stop,
    pair,
)
from faith.daemon.process.peer import Worker
from faith.daemon.process.worker_pool import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    PoolEvents,
    WorkerPool,
    next_pause,
)
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.process.channel import Received
    from faith.daemon.process.messages import Order, ProcessChannel

    Work = Callable[[int, ProcessChannel], None]


class Bridge:
    """A loop with a pool in it, and what the workers said."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.heard: list[tuple[int, int]] = []
        self.fails = False
        self.late: list[int] = []
        self.pool: WorkerPool

    def man(self, work: Work, count: int = 2) -> None:
        """Fork the pool, and let the loop stop when all are ready."""
        events = PoolEvents(late=self.note_late, empty=self.loop.stop)
        self.pool = WorkerPool(self.loop, work, {Killed: self.hear}, events=events)
        self.pool.start(count, self.loop.stop)
        self.loop.run()

    def note_late(self) -> None:
        self.late.append(len(self.pool.late))

    def hear(self, worker: Worker, message: Killed, descriptors: list[int]) -> None:
        if self.fails:
            raise KeyError("a defect of the supervisor's")
        self.heard.append((worker.number, message.question))
        self.loop.stop()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.pool.reaped(pid, status)

    def run_until(self, predicate: Callable[[], object], seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not predicate():
            assert time.monotonic() < deadline
            self.loop.later(0.01, self.loop.stop)
            self.loop.run()


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge()
    with bridge.loop.signals({signal.SIGCHLD: bridge.reap}):
        yield bridge
        bridge.pool.kill()
    bridge.loop.close()


def wait(channel: ProcessChannel) -> Received[Order] | None:
    select.select([channel], [], [])
    return channel.receive()


def obey(number: int, channel: ProcessChannel) -> None:
    """Be ready, answer, report the text of each state as a number, end when told so or alone."""
    channel.send(Ready())
    while received := wait(channel):
        order = received.message
        if isinstance(order, Stop):
            return
        if isinstance(order, State):
            channel.send(Killed(int(from_memory(received.descriptors[0])), 1))
            channel.applied[order.topic] = order.generation
        elif isinstance(order, Kill):
            channel.send(Killed(order.question, 1))
        if isinstance(order, State | Heartbeat):
            channel.send(Alive(channel.applied))


def sleep(number: int, channel: ProcessChannel) -> None:
    channel.send(Ready())
    time.sleep(60)  # time: until it is killed


def test_every_worker_hears_what_is_told(bridge: Bridge) -> None:
    bridge.man(obey)
    bridge.pool.tell(Kill(7, 0))
    bridge.run_until(lambda: len(bridge.heard) == 2)
    assert sorted(bridge.heard) == [(0, 7), (1, 7)]


def test_a_dead_worker_is_replaced_later_and_later(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool_module, "SHORTEST_PAUSE", 0.02)
    bridge.man(obey, 1)
    for _ in range(3):
        (old,) = bridge.pool.pids
        os.kill(old, signal.SIGKILL)
        bridge.run_until(lambda old=old: bridge.pool.pids not in ([], [old]))  # type: ignore[misc]
    pauses = [record.message.rpartition(" in ")[2] for record in caplog.records]
    assert pauses == ["0.02 s", "0.04 s", "0.08 s"]
    assert "was killed by SIGKILL; another takes its place" in caplog.text


@pytest.mark.parametrize(
    ("before", "lived", "pause"),
    [
        (0.0, 0.0, SHORTEST_PAUSE),
        (SHORTEST_PAUSE, LONGEST_PAUSE - 0.1, 2 * SHORTEST_PAUSE),
        (LONGEST_PAUSE * 0.75, 0.0, LONGEST_PAUSE),
        (LONGEST_PAUSE, 0.0, LONGEST_PAUSE),
        (LONGEST_PAUSE, LONGEST_PAUSE, SHORTEST_PAUSE),
    ],
)
def test_pauses_are_bounded_and_forgotten_after_a_long_life(
    before: float, lived: float, pause: float
) -> None:
    assert next_pause(before, lived) == pause


def test_a_worker_that_fails_at_the_start_fails_the_start(bridge: Bridge) -> None:
    def fail(number: int, channel: ProcessChannel) -> None:
        channel.send(Failed("no such user"))

    with pytest.raises(SetupError, match="no such user"):
        bridge.man(fail)


def test_the_reason_is_told_when_the_death_is_noticed_first(bridge: Bridge) -> None:
    def fail(number: int, channel: ProcessChannel) -> None:
        channel.send(Failed("no such user"))

    bridge.pool = WorkerPool(bridge.loop, fail, {})
    bridge.pool.start(1, bridge.loop.stop)
    (pid,) = bridge.pool.pids
    _, status = os.waitpid(pid, 0)
    with pytest.raises(SetupError, match="no such user"):
        bridge.pool.reaped(pid, status)
    assert bridge.pool.pids == []


def test_a_worker_that_dies_at_the_start_fails_the_start(bridge: Bridge) -> None:
    def die(number: int, channel: ProcessChannel) -> None:
        os._exit(3)

    with pytest.raises(SetupError, match="exited with 3"):
        bridge.man(die)


def test_last_words_are_heard(bridge: Bridge) -> None:
    def speak_and_die(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        wait(channel)
        channel.send(Killed(1, 1))

    bridge.man(speak_and_die, 1)
    bridge.pool.retire()
    bridge.pool.tell(Drain())
    bridge.run_until(lambda: bridge.heard and not bridge.pool.pids)


def test_nobody_is_replaced_after_retirement(bridge: Bridge) -> None:
    bridge.man(obey)
    bridge.pool.retire()
    bridge.pool.tell(Stop())
    bridge.loop.run()  # which ends as the pool is empty
    assert bridge.pool.pids == []


def test_those_that_ended_in_retirement_are_started_anew(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.man(obey)
    first, second = bridge.pool.workers
    bridge.pool.retire()
    first.send(Stop())
    bridge.run_until(lambda: len(bridge.pool.pids) == 1)
    bridge.pool.resume()
    bridge.run_until(lambda: bridge.pool.serving == 2)
    assert [worker.number for worker in bridge.pool.workers] == [0, 1]
    assert second.pid in bridge.pool.pids
    assert bridge.pool.restarts == 0
    assert not caplog.records, "nothing was wrong"
    os.kill(second.pid, signal.SIGKILL)
    bridge.run_until(lambda: bridge.pool.restarts == 1)


def test_one_that_was_to_be_replaced_in_retirement_is_not_there_twice(bridge: Bridge) -> None:
    bridge.man(obey)
    os.kill(bridge.pool.pids[0], signal.SIGKILL)
    bridge.run_until(lambda: len(bridge.pool.pids) == 1)
    bridge.pool.retire()
    bridge.pool.resume()
    bridge.run_until(lambda: bridge.pool.serving == 2)
    replaced: list[bool] = []
    bridge.loop.later(2 * pool_module.SHORTEST_PAUSE, lambda: replaced.append(True))
    bridge.run_until(lambda: replaced)
    assert [worker.number for worker in bridge.pool.workers] == [0, 1]


def test_a_full_channel_is_not_fatal_but_too_many_orders_are(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.man(sleep, 1)
    bridge.pool.retire()
    (worker,) = bridge.pool.workers
    fill(worker)
    worker.send(Drain())
    assert "control channel" not in caplog.text
    for _ in range(peer_module.MOST_WAITING):
        worker.send(Drain())
    assert "worker 1" in caplog.text
    assert "its control channel is full; killing it" in caplog.text
    bridge.loop.run()
    assert bridge.pool.pids == []


def fill(worker: Worker) -> None:
    """Have the kernel queue as much for *worker* as it does."""
    with contextlib.suppress(BlockingIOError):
        while True:
            worker.channel.send(Drain())


def test_the_newest_state_comes_when_there_is_room(bridge: Bridge) -> None:
    """What was told while the channel was full is not told any more, and nobody is killed."""

    def halt_and_obey(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        os.kill(os.getpid(), signal.SIGSTOP)
        obey(number, channel)

    bridge.man(halt_and_obey, 1)
    (worker,) = bridge.pool.workers
    os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
    fill(worker)
    for number in range(1, 100):
        bridge.pool.desire("one", lambda number=number: str(number))  # type: ignore[misc]
    os.kill(worker.pid, signal.SIGCONT)
    bridge.run_until(lambda: worker.applied.get("one") == 99)
    assert bridge.heard == [(0, 99)]


def test_a_change_is_sent_and_the_whole_to_who_lags(bridge: Bridge) -> None:
    def forget_one(number: int, channel: ProcessChannel) -> None:
        """Lose the second state, as for want of a descriptor."""
        channel.send(Ready())
        seen = 0
        while received := wait(channel):
            if isinstance(received.message, State):
                seen += 1
                if seen != 2:
                    channel.applied[received.message.topic] = received.message.generation
                    channel.send(Killed(int(from_memory(received.descriptors[0])), 1))
            channel.send(Alive(channel.applied))

    bridge.man(forget_one, 1)
    (worker,) = bridge.pool.workers
    bridge.pool.desire("one", lambda: "1")
    bridge.run_until(lambda: worker.applied.get("one") == 1)
    bridge.pool.desire("one", lambda: "2", lambda: "12")
    bridge.run_until(lambda: worker.applied.get("one") == 2)
    bridge.pool.desire("one", lambda: "3", lambda: "23")
    bridge.run_until(lambda: worker.applied.get("one") == 3)
    assert bridge.heard == [(0, 1), (0, 2), (0, 23)]


def test_the_first_state_that_is_lost_is_sent_again_whole(bridge: Bridge) -> None:
    def forget_the_first(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        seen = 0
        while received := wait(channel):
            if isinstance(received.message, State):
                seen += 1
                if seen == 2:
                    channel.send(Killed(int(from_memory(received.descriptors[0])), 1))
                    channel.applied[received.message.topic] = received.message.generation
            channel.send(Alive(channel.applied))

    bridge.man(forget_the_first, 1)
    (worker,) = bridge.pool.workers
    bridge.pool.desire("one", lambda: "1", lambda: "01")
    bridge.run_until(lambda: worker.applied.get("one") == 1)
    assert bridge.heard == [(0, 1)]


def test_one_that_gets_on_does_not_lag_however_many_states_come() -> None:
    near, far = pair()
    worker = Worker(0, os.getpid(), near, 0.0)
    worker.behind = 1.0
    worker.answered(Alive({"one": 7}), 50.0)
    assert worker.lag(51.0) == 1.0
    worker.answered(Alive({"one": 7}), 60.0)
    assert worker.lag(61.0) == 11.0, "it has applied nothing more"
    worker.close()
    far.close()


def test_who_is_forked_begins_with_the_newest_state(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "SHORTEST_PAUSE", 0.02)
    bridge.man(obey, 1)
    bridge.pool.desire("one", lambda: "1")
    (old,) = bridge.pool.pids
    os.kill(old, signal.SIGKILL)
    bridge.run_until(lambda: bridge.pool.serving and bridge.pool.pids != [old])
    bridge.run_until(lambda: bridge.pool.workers[0].applied == {"one": 1})
    assert bridge.heard in ([], [(0, 1)]), "the new one was told nothing"


def test_one_that_died_with_unread_messages_stops_nobody(bridge: Bridge) -> None:
    """Its channel gives ECONNRESET, while the others are told."""
    bridge.man(obey, 3)
    bridge.pool.retire()
    first, *others = bridge.pool.workers
    os.kill(first.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED)
    first.send(Drain())  # which it will not read
    os.kill(first.pid, signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    bridge.pool.desire("one", lambda: "1")
    bridge.run_until(lambda: all(other.applied == {"one": 1} for other in others))
    assert sorted(bridge.heard) == [(1, 1), (2, 1)]


def test_one_that_hangs_is_late_then_killed_and_replaced(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hasten(monkeypatch)
    bridge.man(obey, 2)
    first, second = bridge.pool.workers
    os.kill(first.pid, signal.SIGSTOP)
    bridge.run_until(lambda: bridge.pool.late == [first])
    assert bridge.pool.able == [second]
    bridge.run_until(lambda: first.pid not in bridge.pool.pids)
    assert f"worker 1 (pid {first.pid}): no heartbeat for 1.5 s; killing it" in caplog.text
    bridge.run_until(lambda: len(bridge.pool.able) == 2)
    assert second in bridge.pool.able
    assert bridge.pool.restarts == 1


def test_one_that_goes_on_is_not_late_any_more(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch, limit=60)
    bridge.man(obey, 1)
    (pid,) = bridge.pool.pids
    os.kill(pid, signal.SIGSTOP)
    bridge.run_until(lambda: bridge.pool.late)
    os.kill(pid, signal.SIGCONT)
    bridge.run_until(lambda: not bridge.pool.late)
    assert (bridge.late[0], bridge.late[-1]) == (1, 0)
    assert bridge.pool.pids == [pid]


def test_one_that_does_not_apply_what_binds_it_is_killed(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def ignore(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        while wait(channel):
            channel.send(Alive())

    hasten(monkeypatch)
    bridge.man(ignore, 1)
    bridge.pool.retire()
    bridge.pool.desire("free", lambda: "1", binding=False)
    (worker,) = bridge.pool.workers
    bridge.run_until(lambda: "free" in worker.sent)
    assert worker.behind is None
    bridge.pool.desire("one", lambda: "1")
    bridge.loop.run()
    assert "the newest rules or settings are not applied after 1.5 s; killing it" in caplog.text


def test_nobody_is_blamed_when_the_supervisor_was_halted(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    bridge.man(obey, 1)
    (pid,) = bridge.pool.pids
    os.kill(pid, signal.SIGSTOP)
    (worker,) = bridge.pool.workers
    bridge.run_until(lambda: worker.asked is not None)
    time.sleep(1.7)  # time: all of us stand still, as by a freezer
    os.kill(pid, signal.SIGCONT)
    bridge.run_until(lambda: worker.asked is None)
    assert bridge.pool.pids == [pid]
    assert bridge.pool.late == []


def hasten(monkeypatch: pytest.MonkeyPatch, limit: float = 1.5) -> None:
    """Have what takes seconds take tenths of one."""
    for name, seconds in {
        "BEAT": 0.05,
        "LATE": 0.4,
        "LIMIT": limit,
    }.items():
        monkeypatch.setattr(heartbeat, name, seconds)
    monkeypatch.setattr(pool_module, "SHORTEST_PAUSE", 0.02)


@pytest.mark.parametrize(
    "octets",
    [
        b"nonsense",
        b'{"sort": "none"}',
        b'{"kind": "sockets", "family": 10, "count": 1000000000000}',
        b'{"kind": "alive", "applied": {"x": 9223372036854775807}}',
        b'{"kind": "steer", "client": "2001:db8::1", "mapped": "2001:db8::2"}',
        b'{"kind": "failed", "why": "' + b"x" * 70_000 + b'"}',
        b"[" * 60_000,
    ],
)
def test_one_that_sends_an_invalid_message_is_killed(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, octets: bytes
) -> None:
    def babble(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        os.write(channel.fileno(), octets)
        time.sleep(60)  # time: until it is killed

    bridge.man(babble, 1)
    bridge.pool.retire()
    bridge.loop.run()
    assert "worker 1 (pid" in caplog.text
    assert "sent an invalid message" in caplog.text
    assert "; killing it" in caplog.text
    assert bridge.pool.pids == []


def test_what_a_worker_may_not_send_is_invalid(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    def steer(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        channel.send(Steer("2001:db8::1", "2001:db8::2"))
        time.sleep(60)  # time: until it is killed

    bridge.man(steer, 1)
    bridge.pool.retire()
    bridge.loop.run()
    assert "Steer is not for it to send" in caplog.text


def test_an_error_of_a_handler_kills_nobody(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.man(obey, 1)
    pids = bridge.pool.pids
    bridge.fails = True
    bridge.pool.tell(Kill(1, 0))
    bridge.run_until(lambda: "a defect of this program" in caplog.text)
    assert "KeyError" in caplog.text
    bridge.fails = False
    bridge.pool.tell(Kill(2, 0))
    bridge.run_until(lambda: bridge.heard == [(0, 2)])
    assert bridge.pool.pids == pids


def test_what_a_worker_says_reaches_no_terminal_as_a_command(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(number: int, channel: ProcessChannel) -> None:
        channel.send(Ready())
        channel.send(Failed("a\x1b[2Jb\nc"))
        wait(channel)

    bridge.man(fail, 1)
    bridge.run_until(lambda: "a?[2Jb?c" in caplog.text)


def test_workers_ignore_what_is_for_the_supervisor(bridge: Bridge) -> None:
    bridge.man(obey)
    for pid in bridge.pool.pids:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
    bridge.pool.tell(Kill(7, 0))
    bridge.run_until(lambda: len(bridge.heard) == 2)


def test_another_child_is_nobody(bridge: Bridge) -> None:
    bridge.man(obey, 1)
    assert not bridge.pool.reaped(1, 0)


@pytest.mark.parametrize(
    ("status", "text"), [(9, "was killed by SIGKILL"), (3 << 8, "exited with 3")]
)
def test_says_how_a_process_ended(status: int, text: str) -> None:
    assert how_it_ended(status) == text


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
