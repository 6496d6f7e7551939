"""Time limits, on a clock the test turns."""

from __future__ import annotations

import asyncio
import heapq
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.relay.tcp import timeouts
from faith.relay.tcp.timeouts import IdleTimeouts, StageTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """The part of an event loop that tells time; the test turns it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, int, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Any:
        heapq.heappush(self.timers, (when, len(self.timers), call))
        return SimpleNamespace(cancel=self.timers.clear)

    def call_later(self, delay: float, call: Callable[[], None]) -> Any:
        return self.call_at(self.now + delay, call)

    def turn(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            when, _, call = heapq.heappop(self.timers)
            self.now = max(self.now, when)
            call()
        self.now = end


@pytest.fixture
def clock() -> Any:
    return Clock()


def test_deadlines_are_missed_in_order_and_on_time(clock: Any) -> None:
    missed: list[str] = []
    deadlines: Any = StageTimeouts(clock, 10, missed.append)  # type: ignore[arg-type]
    deadlines.add("one", clock.now)
    clock.turn(4)
    deadlines.add("two", clock.now)
    deadlines.add("three", clock.now)
    deadlines.remove("two")
    clock.turn(5.9)
    assert missed == []
    clock.turn(0.2)
    assert missed == ["one"]
    clock.turn(4)
    assert missed == ["one", "three"]
    assert not clock.timers, "an empty queue keeps no timer"


def test_after_a_stall_what_has_come_meanwhile_is_seen_before_a_deadline_is_missed(
    clock: Any,
) -> None:
    missed: list[str] = []
    deadlines: Any = StageTimeouts(clock, 10, missed.append)  # type: ignore[arg-type]
    deadlines.add("connected meanwhile", clock.now)
    deadlines.add("dead", clock.now)
    clock.now += 3600  # the machine was suspended
    clock.turn(0)
    assert missed == []
    deadlines.remove("connected meanwhile")
    clock.turn(1.1)
    assert missed == ["dead"]


def test_thousands_that_are_adopted_are_put_in_order_once(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorts: list[int] = []

    def count(items: Any, key: Any) -> Any:
        found = sorted(items, key=key)
        sorts.append(len(found))
        return found

    monkeypatch.setattr(timeouts, "sorted", count, raising=False)
    missed: list[Any] = []
    deadlines: Any = StageTimeouts(clock, 10, missed.append)
    for number in range(1000):
        deadlines.adopt(Started(clock.now - number % 7))
    clock.turn(20)
    assert [session.started for session in missed] == sorted(one.started for one in missed)
    assert len(missed) == 1000
    assert sorts == [1000]


def test_no_deadline_at_zero(clock: Any) -> None:
    missed: list[str] = []
    deadlines: Any = StageTimeouts(clock, 0, missed.append)  # type: ignore[arg-type]
    deadlines.add("one", clock.now)
    clock.turn(1e6)
    assert missed == []
    assert deadlines.sessions() == ["one"]


def test_no_deadline_of_what_is_adopted_at_zero(clock: Any) -> None:
    missed: list[Any] = []
    deadlines: Any = StageTimeouts(clock, 0, missed.append)
    deadlines.adopt(Started(clock.now - 5))
    clock.turn(1e6)
    assert missed == []


def test_what_is_adopted_keeps_nobody_before_it_waiting(clock: Any) -> None:
    missed: list[Any] = []
    deadlines: Any = StageTimeouts(clock, 10, missed.append)
    deadlines.add("first", clock.now)
    later, earlier = Started(clock.now + 4), Started(clock.now - 4)
    deadlines.adopt(earlier)
    clock.turn(6)
    assert missed == [earlier]
    deadlines.adopt(later)
    clock.turn(4)
    assert missed == [earlier, "first"]
    clock.turn(4)
    assert missed == [earlier, "first", later]


def test_a_second_late_is_no_stall_yet(clock: Any) -> None:
    missed: list[str] = []
    deadlines: Any = StageTimeouts(clock, 10, missed.append)  # type: ignore[arg-type]
    deadlines.add("one", clock.now)
    clock.now += 11
    clock.turn(0)
    assert missed == ["one"]


class Started:
    """Stands for a session that is dialled since *started*."""

    def __init__(self, started: float) -> None:
        self.started = started


class Sessions:
    """Stands for the plane: the sessions there are, and how they were ended."""

    def __init__(self, count: int) -> None:
        self.all = [self._session() for _ in range(count)]
        self.ended: dict[int, str] = {}

    @staticmethod
    def _session() -> Any:
        def leg() -> SimpleNamespace:
            sock = SimpleNamespace(setsockopt=lambda *option: options.append(option))
            return SimpleNamespace(moved=0, done=False, sock=sock)

        options: list[tuple[int, int, int]] = []
        return SimpleNamespace(
            client=leg(),
            server=leg(),
            seen=0,
            started=100.0,
            quiet_since=100.0,
            data=0,
            parent=None,
            looked_at=False,
            options=options,
        )

    def sessions(self) -> list[Any]:
        return [one for number, one in enumerate(self.all) if number not in self.ended]

    def end(self, session: Any, how: str, *, reset: bool) -> None:
        assert reset
        self.ended[self.all.index(session)] = how


def test_silence_is_cut_between_one_and_an_eighth_more(clock: Any) -> None:
    plane: Any = Sessions(2)
    IdleTimeouts(clock, plane, idle=80, half_closed=0, lifetime=0)
    for _ in range(79):
        clock.turn(1)
        plane.all[1].client.moved += 1
    assert plane.ended == {}
    clock.turn(11)
    assert plane.ended == {0: "idle"}
    clock.turn(90)
    assert plane.ended == {0: "idle", 1: "idle"}


def test_there_are_eight_looks_in_a_limit(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=80, half_closed=0, lifetime=0)
    clock.turn(1)
    plane.all[0].client.moved += 1
    clock.turn(88.9)  # seen at 10
    assert plane.ended == {}
    clock.turn(0.1)
    assert plane.ended == {0: "idle"}


def test_a_look_that_is_a_second_late_is_no_stall_yet(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=80, half_closed=0, lifetime=0)
    clock.now += 11
    clock.turn(70)
    assert plane.ended == {0: "idle"}


def test_a_session_ends_once(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=80, half_closed=0, lifetime=80)
    clock.turn(80)
    assert plane.ended == {0: "lifetime"}


def test_closed_by_both_it_has_the_limit_of_what_is_half_closed(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=0, half_closed=16, lifetime=0)
    plane.all[0].server.done = plane.all[0].client.done = True
    clock.turn(20)
    assert plane.ended == {0: "idle half-closed"}


def test_a_stall_is_no_silence(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=80, half_closed=0, lifetime=0)
    clock.turn(70)
    clock.now += 7200
    clock.turn(0)
    assert plane.ended == {}, "what waits to be read is to be read first"
    clock.turn(40)
    assert plane.ended == {0: "idle"}


def test_data_are_not_silent_while_their_parent_is_not(clock: Any) -> None:
    plane: Any = Sessions(2)
    parent, data = plane.all
    data.parent, parent.data = parent, 1
    parent.moved = (0, 0)
    IdleTimeouts(clock, plane, idle=80, half_closed=0, lifetime=0)
    for _ in range(100):
        clock.turn(1)
        parent.moved = (0, parent.moved[1] + 1)
    assert plane.ended == {}
    clock.turn(90)
    assert plane.ended == {1: "idle"}


def test_half_closing_starts_its_own_limit(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=0, half_closed=16, lifetime=0)
    clock.turn(1000)
    plane.all[0].server.done = True
    clock.turn(16)
    assert plane.ended == {}
    clock.turn(4)
    assert plane.ended == {0: "idle half-closed"}


def test_a_life_has_an_end_whatever_moves(clock: Any) -> None:
    plane: Any = Sessions(2)
    IdleTimeouts(clock, plane, idle=0, half_closed=0, lifetime=80)
    plane.all[1].started = 150.0
    for _ in range(92):
        clock.turn(1)
        plane.all[0].client.moved += 1
    assert plane.ended == {0: "lifetime"}


def test_a_session_that_lives_gets_keep_alive_once(clock: Any) -> None:
    plane: Any = Sessions(1)
    IdleTimeouts(clock, plane, idle=0, half_closed=0, lifetime=0)
    clock.turn(59)
    assert plane.all[0].options == []
    clock.turn(1)
    assert len(plane.all[0].options) == 1
    clock.turn(1000)
    assert plane.all[0].options == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    assert plane.ended == {}, "without limits nothing is cut"


def test_closing_stops_the_clocks() -> None:
    loop = asyncio.new_event_loop()
    silence = IdleTimeouts(loop, Sessions(0), 1, 1, 0)
    deadlines = StageTimeouts(loop, 1, lambda session: None)
    silence.close()
    deadlines.close()
    loop.close()
