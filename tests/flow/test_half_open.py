from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.flow.half_open import HalfOpen
from faith.kernel.flow.layout import CLIENT, SYNACK, Side
from tests.flow.stand import Stand

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps

SECOND = 1_000_000_000


def test_the_oldest_of_those_that_wait_goes_when_there_are_too_many(maps: FlowMaps) -> None:
    stand = Stand(maps, half_open=8)
    numbers = stand.open(8)
    assert stand.reports.ends == []
    first = maps.generation_of(numbers[0])
    stand.open(8, client="2001:db8:2::1")
    assert stand.reports.ended_[0] == (first, "displaced")
    assert stand.table.open.taken == 8
    assert stand.reports.ends == ["displaced"] * 8
    assert not stand.sent("raw_v6")  # their clients may try again


def test_those_that_were_answered_are_not_counted(maps: FlowMaps) -> None:
    stand = Stand(maps, half_open=8)
    for number in stand.open(8):
        maps.mark(number, SYNACK)
    stand.syn()
    for n in range(8):
        stand.open(1, client=f"2001:db8:2::{n}")
    assert stand.reports.ends == []
    assert stand.table.open.taken == 16


def test_a_flood_keeps_to_the_bound_and_takes_from_the_oldest(maps: FlowMaps) -> None:
    """Simulated: flows of which every third is answered; never more than the bound wait."""
    queue = HalfOpen(maps, 10)
    stand = Stand(maps)
    numbers = stand.open(30)
    waiting: list[int] = []
    for at, number in enumerate(numbers):
        gone = queue.add(number, maps.generation_of(number), at)
        waiting.append(number)
        if gone >= 0:
            assert gone == waiting[0]
            waiting.remove(gone)
        assert len(waiting) <= 10
        if at % 3 == 0:
            maps.mark(number, SYNACK)
            waiting.remove(number)
    assert len(queue) <= 10


def test_a_slot_with_another_flow_is_passed_over(maps: FlowMaps) -> None:
    queue = HalfOpen(maps, 1)
    stand = Stand(maps)
    one, two = stand.open(2)
    assert queue.add(one, maps.generation_of(one) + 1, 0) == -1
    assert queue.add(two, maps.generation_of(two), 0) == -1


def test_a_flow_expires_after_the_last_syn_of_its_client(maps: FlowMaps) -> None:
    queue = HalfOpen(maps, 10)
    stand = Stand(maps)
    now = time.monotonic_ns()
    one, two, three = stand.open(3)
    for number in (one, two, three):
        queue.add(number, maps.generation_of(number), now - 100 * SECOND)
    maps.arrived(one, CLIENT, Side(last=now - 76 * SECOND))
    maps.arrived(two, CLIENT, Side(last=now - 60 * SECOND))
    maps.mark(three, SYNACK)
    assert queue.expired(now - 75 * SECOND) == [one]
    assert len(queue) == 1
    assert queue.expired(now - 50 * SECOND) == [two]
    assert len(queue) == 0


def test_a_brain_that_resumes_has_them_by_age(maps: FlowMaps) -> None:
    queue = HalfOpen(maps, 2)
    stand = Stand(maps)
    numbers = stand.open(3)
    flows = [(n, maps.generation_of(n), age) for n, age in zip(numbers, (30, 10, 20), strict=True)]
    queue.restore(flows[:2])
    assert queue.add(*flows[2]) == numbers[1]
