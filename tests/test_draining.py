"""The workers of the program before: real processes, which are told to hand over."""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.process.channel import Channel
from faith.daemon.process.loop import Loop
from faith.daemon.process.worker_pool import Member
from faith.daemon.upgrade.draining import DrainingWorkers, as_left

if TYPE_CHECKING:
    from collections.abc import Iterator


class Side:
    """A member, and the end of its channel that a worker would have."""

    def __init__(self, number: int, pid: int) -> None:
        ours, self.theirs = Channel.pair()
        self.member = Member(number, pid, ours, 0.0, ready=True)

    def told(self) -> tuple[str, list[int]]:
        assert select.select([self.theirs], [], [], 5)[0]
        received = self.theirs.receive()
        assert received
        message, descriptors = received
        return message["kind"], descriptors

    def close(self) -> None:
        self.theirs.close()
        self.member.channel.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def adopted(loop: Loop, *old: Side, **hearings: Any) -> DrainingWorkers:
    """Return the workers of *old* as the next program adopts them, by copied descriptors."""
    predecessors = DrainingWorkers(loop, hearings)
    left = as_left(side.member for side in old)
    predecessors.adopt([(number, pid, os.dup(fd)) for number, pid, fd in left])
    return predecessors


def test_each_hands_over_to_the_one_in_its_place(loop: Loop) -> None:
    old = [Side(number, 1000 + number) for number in range(3)]
    heirs = [Side(number, 2000 + number) for number in range(2)]
    predecessors = adopted(loop, *old)
    pairs = [*predecessors.hand_over([heir.member for heir in heirs])]
    assert [(one.number, other.number) for one, other in pairs] == [(0, 0), (1, 1), (2, 0)]
    for giver, taker in ((old[0], heirs[0]), (old[1], heirs[1]), (old[2], heirs[0])):
        (give, (giving,)), (take, (taking,)) = giver.told(), taker.told()
        assert (give, take) == ("give", "take")
        with socket.socket(fileno=giving) as one, socket.socket(fileno=taking) as other:
            one.send(b"a session")  # they are the two ends of a way of their own
            assert other.recv(100) == b"a session"
    predecessors.crew.forsake()
    for side in (*old, *heirs):
        side.close()


def test_one_that_has_ended_keeps_the_others_from_nothing(loop: Loop) -> None:
    dead, alive, heir = Side(0, 1000), Side(1, 1001), Side(0, 2000)
    predecessors = adopted(loop, dead, alive)
    dead.close()
    assert len([*predecessors.hand_over([heir.member])]) == 2
    assert alive.told()[0] == "give"
    predecessors.crew.forsake()
    alive.close()
    heir.close()


def test_they_end_and_are_not_replaced(loop: Loop) -> None:
    side = Side(0, os.fork() or _wait_for_the_end())
    predecessors = adopted(loop, side)
    gone: list[bool] = []
    predecessors.crew.on_gone = lambda: gone.append(True)
    os.kill(side.member.pid, signal.SIGKILL)
    pid, status = os.waitpid(side.member.pid, 0)
    assert predecessors.crew.reaped(pid, status)
    assert predecessors.crew.members == []
    assert gone
    side.close()


def test_what_they_ask_for_is_heard_and_late_answers_are_not(loop: Loop) -> None:
    side = Side(4, 1000)
    heard: list[int] = []

    def hear(member: Member, message: Any, descriptors: list[int]) -> None:
        heard.append(member.number)
        loop.stop()

    predecessors = adopted(loop, side, ask=hear)
    for kind in ("sessions", "killed", "ask"):
        side.theirs.send({"kind": kind})
    loop.run()
    assert heard == [4]
    predecessors.crew.forsake()
    side.close()


def _wait_for_the_end() -> int:
    signal.pause()
    os._exit(0)
