"""The supervised side of a process: what it answers, applies, and cannot receive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.process.channel import close_all, in_memory
from faith.daemon.process.child import Child
from faith.daemon.process.messages import Alive, Drain, Heartbeat, Kill, State, Stop, pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.daemon.process.messages import Order


class Process:
    """A child in this process, its supervisor's end, and what it has applied."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.supervisor, self.channel = pair({"one": 1})
        self.obeyed: list[Order] = []
        self.applied: list[tuple[str, bool, int]] = []
        self.gone = 0
        self.fails = False
        self.child = Child(
            self.loop,
            self.channel,
            {Drain: lambda order, descriptors: self.obeyed.append(order)},
            self.end,
            {"one": self.apply},
        )

    def apply(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        close_all(descriptors)
        if self.fails:
            raise KeyError(text)
        self.applied.append((text, is_change, len(descriptors)))

    def end(self) -> None:
        self.gone += 1

    def send(self, generation: int, base: int = 0, more: tuple[int, ...] = ()) -> None:
        with in_memory(f"text {generation}") as text:
            self.supervisor.send(State("one", generation, base), [text, *more])

    def run(self) -> list[Any]:
        """Handle what was sent; what is answered."""
        self.loop.call_later(0.02, self.loop.stop)
        self.loop.run_forever()
        found = []
        with contextlib.suppress(BlockingIOError):
            while received := self.supervisor.receive():
                found.append(received.message)
        return found

    def close(self) -> None:
        if not self.gone:
            self.child.close()
        self.loop.close()
        self.supervisor.close()
        self.channel.close()


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.close()


@contextlib.contextmanager
def room(descriptors: int) -> Iterator[None]:
    """Within the block, so many descriptors can be opened, and no more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, before[1]))
    held: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    for _ in range(descriptors):
        os.close(held.pop())
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        close_all(held)


def test_a_heartbeat_is_answered_by_what_is_applied(process: Process) -> None:
    process.supervisor.send(Heartbeat())
    assert process.run() == [Alive({"one": 1})]


def test_a_change_is_applied_to_the_generation_it_is_of(process: Process) -> None:
    process.send(2, base=1)
    assert process.run() == [Alive({"one": 2})]
    assert process.applied == [("text 2", True, 0)]


def test_a_change_to_another_generation_is_not_and_the_whole_is(process: Process) -> None:
    process.send(3, base=2)
    assert process.run() == [Alive({"one": 1})]
    assert process.applied == []
    process.send(3)
    assert process.run() == [Alive({"one": 3})]
    assert process.applied == [("text 3", False, 0)]


def test_without_a_free_descriptor_a_state_is_received_all_the_same(process: Process) -> None:
    with in_memory("text 2") as text, room(0):
        for generation in (2, 3):
            process.supervisor.send(State("one", generation), [text])
            with contextlib.suppress(BlockingIOError):
                process.child._receive()
    assert process.run() == [Alive({"one": 2}), Alive({"one": 3})]


def test_what_is_lost_for_want_of_room_is_not_acknowledged(process: Process) -> None:
    """Of a state with descriptors of its own, such as listeners."""
    with in_memory("text 2") as text, room(1):
        process.supervisor.send(State("one", 2), [text, text, text, text])
        process.child._receive()
    assert process.run() == [Alive({"one": 1})]
    assert process.applied == []
    before = len(os.listdir("/proc/self/fd"))
    process.send(2, more=(0, 0, 0))
    assert process.run() == [Alive({"one": 2})]
    assert process.applied == [("text 2", False, 3)]
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_applied_is_not_acknowledged(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    process.fails = True
    process.send(2)
    assert process.run() == [Alive({"one": 1})]
    assert "the one of generation 2 is not applied" in caplog.text
    process.fails = False
    process.send(2)
    assert process.run() == [Alive({"one": 2})]


def test_a_topic_that_it_does_not_know_is_not_acknowledged(process: Process) -> None:
    with in_memory("") as text:
        process.supervisor.send(State("another", 1), [text])
    assert process.run() == [Alive({"one": 1})]


def test_orders_are_obeyed_and_others_ignored(process: Process) -> None:
    process.supervisor.send(Kill(1, 2))
    process.supervisor.send(Drain())
    process.run()
    assert process.obeyed == [Drain()]
    assert not process.gone


@pytest.mark.parametrize("stop", [True, False])
def test_it_is_over_once(process: Process, stop: bool) -> None:
    if stop:
        process.supervisor.send(Stop())
    else:
        process.supervisor.close()
    process.loop.call_later(0.02, process.loop.stop)
    process.loop.run_forever()
    assert process.gone == 1
