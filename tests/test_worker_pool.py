"""The crew: workers forked, replaced when they die, told what to do."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process import worker_pool as crew_module
from faith.daemon.process.loop import Loop
from faith.daemon.process.worker_pool import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    Crew,
    how_it_ended,
    next_pause,
)
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.process.channel import Channel, Message
    from faith.daemon.process.worker_pool import Member

    Work = Callable[[int, Channel], None]


class Bridge:
    """A loop with a crew in it, and what the workers said."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.heard: list[Message] = []
        self.crew: Crew

    def man(self, work: Work, count: int = 2) -> None:
        """Fork the crew, and let the loop stop when all are ready."""
        self.crew = Crew(self.loop, work, {"said": self.hear})
        self.crew.on_gone = self.loop.stop
        self.crew.start(count, self.loop.stop)
        self.loop.run()

    def hear(self, member: Member, message: Message, descriptors: list[int]) -> None:
        self.heard.append({**message, "number": member.number})
        self.loop.stop()

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.crew.reaped(pid, status)

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
        bridge.crew.kill()
    bridge.loop.close()


def wait(channel: Channel) -> Message | None:
    select.select([channel], [], [])
    received = channel.receive()
    return received and received[0]


def obey(number: int, channel: Channel) -> None:
    """Be ready, repeat what is said, end when told so or when alone."""
    channel.send({"kind": "ready"})
    while order := wait(channel):
        if order["kind"] == "stop":
            return
        channel.send({"kind": "said", "what": order["kind"]})


def test_every_worker_hears_what_is_told(bridge: Bridge) -> None:
    bridge.man(obey)
    bridge.crew.tell("hello")
    bridge.run_until(lambda: len(bridge.heard) == 2)
    assert sorted(heard["number"] for heard in bridge.heard) == [0, 1]
    assert {heard["what"] for heard in bridge.heard} == {"hello"}


def test_a_dead_worker_is_replaced_later_and_later(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crew_module, "SHORTEST_PAUSE", 0.02)
    bridge.man(obey, 1)
    for _ in range(3):
        (old,) = bridge.crew.pids
        os.kill(old, signal.SIGKILL)
        bridge.run_until(lambda old=old: bridge.crew.pids not in ([], [old]))  # type: ignore[misc]
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
    def fail(number: int, channel: Channel) -> None:
        channel.send({"kind": "failed", "why": "no such user"})

    with pytest.raises(SetupError, match="no such user"):
        bridge.man(fail)


def test_the_reason_is_told_when_the_death_is_noticed_first(bridge: Bridge) -> None:
    def fail(number: int, channel: Channel) -> None:
        channel.send({"kind": "failed", "why": "no such user"})

    bridge.crew = Crew(bridge.loop, fail, {})
    bridge.crew.start(1, bridge.loop.stop)
    (pid,) = bridge.crew.pids
    _, status = os.waitpid(pid, 0)
    with pytest.raises(SetupError, match="no such user"):
        bridge.crew.reaped(pid, status)
    assert bridge.crew.pids == []


def test_a_worker_that_dies_at_the_start_fails_the_start(bridge: Bridge) -> None:
    def die(number: int, channel: Channel) -> None:
        os._exit(3)

    with pytest.raises(SetupError, match="exited with 3"):
        bridge.man(die)


def test_last_words_are_heard(bridge: Bridge) -> None:
    def speak_and_die(number: int, channel: Channel) -> None:
        channel.send({"kind": "ready"})
        wait(channel)
        channel.send({"kind": "said", "what": "goodbye"})

    bridge.man(speak_and_die, 1)
    bridge.crew.retire()
    bridge.crew.tell("go")
    bridge.run_until(lambda: bridge.heard and not bridge.crew.pids)


def test_nobody_is_replaced_after_retirement(bridge: Bridge) -> None:
    bridge.man(obey)
    bridge.crew.retire()
    bridge.crew.tell("stop")
    bridge.loop.run()  # on_gone stops it
    assert bridge.crew.pids == []


def test_one_that_takes_no_orders_is_killed(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    def sleep(number: int, channel: Channel) -> None:
        channel.send({"kind": "ready"})
        time.sleep(60)

    bridge.man(sleep, 1)
    bridge.crew.retire()
    for _ in range(1000):
        bridge.crew.tell("x" * 1000)
        if "takes no orders" in caplog.text:
            break
    bridge.loop.run()
    assert bridge.crew.pids == []


def test_one_that_talks_nonsense_is_killed(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    def babble(number: int, channel: Channel) -> None:
        channel.send({"kind": "ready"})
        channel.send({"sort": "none"})
        time.sleep(60)

    bridge.man(babble, 1)
    bridge.crew.retire()
    bridge.loop.run()
    assert "talks nonsense" in caplog.text
    assert bridge.crew.pids == []


def test_workers_ignore_what_is_for_the_supervisor(bridge: Bridge) -> None:
    bridge.man(obey)
    for pid in bridge.crew.pids:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
    bridge.crew.tell("hello")
    bridge.run_until(lambda: len(bridge.heard) == 2)


def test_another_child_is_nobody(bridge: Bridge) -> None:
    bridge.man(obey, 1)
    assert not bridge.crew.reaped(1, 0)


@pytest.mark.parametrize(
    ("status", "text"), [(9, "was killed by SIGKILL"), (3 << 8, "exited with 3")]
)
def test_says_how_a_process_ended(status: int, text: str) -> None:
    assert how_it_ended(status) == text


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
