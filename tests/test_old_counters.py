"""Counters of one program, as its successor reads them."""

from __future__ import annotations

import json
import mmap
import os

import pytest

from faith.kernel.descriptor import descriptors
from faith.kernel.shared.families import GAUGE, HISTOGRAM, STATE, Family, Layout
from faith.kernel.shared.old_counters import OldCounters
from faith.kernel.shared.shared_counters import Area

OPEN = Family("open", "Open.", GAUGE)
ENDS = Family("ends", "Ended.", label="end", values=("good", "bad"))
TIME = Family("time_seconds", "Took.", HISTOGRAM, bounds=(0.1, 1.0))
WORKERS = Family("workers", "Serving.", STATE)
OLD = Layout(OPEN, ENDS, TIME, WORKERS)


def left_by(area: Area) -> OldCounters:
    """Return the counters of that state with this program's layout."""
    return OldCounters(json.loads(json.dumps(area.state())), [OLD])


def area_with(*numbers: int) -> Area:
    """Two places, both with these."""
    area = Area([OLD], places=2)
    for place in range(2):
        cells = area.slab(place, OLD)
        for cell, number in enumerate(numbers):
            cells[cell] = number
    return area


def test_numbers_go_on_while_others_write_there() -> None:
    area = area_with(1, 2, 3)
    now = Area([OLD], 1, left_by(area))
    now.slab(0, OLD)[1] += 10
    assert now.totals(OLD)[:3] == [2, 14, 6]
    area.slab(1, OLD)[1] += 1
    assert now.total(OLD, 1) == 15


def test_none_that_still_writes_there_takes_from_the_others() -> None:
    area = area_with(1, 2, 3)
    area.slab(1, OLD)[1] = -(1 << 63)
    assert Area([OLD], 1, left_by(area)).total(OLD, 1) == 2


def test_what_a_program_says_of_itself_is_not_added_up() -> None:
    assert Area([OLD], 1, left_by(area_with(*range(1, 9)))).totals(OLD)[-1] == 0


def test_another_layout_finds_them_by_their_names() -> None:
    ends = Family("ends", "Ended.", label="end", values=("new", "bad", "good"))
    layout = Layout(Family("added", "More."), ends, OPEN)
    old = OldCounters(area_with(1, 2, 3).state(), [layout])
    assert Area([layout], 1, old).totals(layout) == [0, 0, 6, 4, 2]


def test_a_histogram_of_other_bounds_begins_anew() -> None:
    other = Layout(Family("time_seconds", "Took.", HISTOGRAM, bounds=(0.1, 2.0)))
    old = OldCounters(area_with(*range(1, 9)).state(), [other])
    assert [old.total(other, cell) for cell in range(other.size)] == [0] * other.size


def test_a_past_that_is_over_is_settled_once() -> None:
    now = Area([OLD], 3)
    now.settle(left_by(area_with(*range(1, 9))), 0)
    assert now.totals(OLD) == [0, 4, 6, 8, 10, 12, 14, 0], "nobody is open, and states are others'"


def test_what_the_dead_had_is_counted_otherwise() -> None:
    area = area_with(5, 0, 1)
    old = left_by(area)
    old.move(1, OLD, 0, 2)
    old.move(1, OLD, 0, 2)
    assert list(area.slab(1, OLD)[:3]) == [0, 0, 6]
    assert list(area.slab(0, OLD)[:3]) == [5, 0, 1]


def test_nobody_can_take_the_memory_from_under_the_others() -> None:
    (descriptor,) = descriptors(Area([OLD], 1).state())
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    with mmap.mmap(descriptor, 0) as memory:
        assert len(memory) == mmap.PAGESIZE
