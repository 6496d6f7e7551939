"""Counters that processes share."""

from __future__ import annotations

import os

from faith.kernel.shared.families import GAUGE, HISTOGRAM, Family, Layout
from faith.kernel.shared.shared_counters import Area, Buckets

OPEN = Family("open", "Open.", GAUGE)
ENDS = Family("ends", "Ended.", label="end", values=("good", "bad"))
TIME = Family("time_seconds", "Took.", HISTOGRAM, bounds=(0.1, 1.0))
ONE, TWO = Layout(OPEN, ENDS), Layout(TIME)


def test_a_layout_says_where_each_number_is() -> None:
    assert (ONE.size, ONE.start(OPEN), ONE.cells(ENDS)) == (3, 0, {"good": 1, "bad": 2})
    assert list(ONE.of(ENDS, [7, 8, 9])) == [8, 9]


def test_places_are_apart_and_are_added_up() -> None:
    area = Area([ONE, TWO], places=3)
    for place in range(3):
        cells = area.slab(place, ONE)
        cells[1] += place + 1
        area.slab(place, TWO)[3] += 10
    assert area.totals(ONE) == [0, 6, 0]
    assert area.total(TWO, 3) == 30
    assert list(area.slab(1, ONE)) == [0, 2, 0]


def test_no_process_takes_from_what_others_count() -> None:
    area = Area([ONE], places=2)
    area.slab(0, ONE)[1], area.slab(1, ONE)[1] = 7, -(1 << 63)
    assert area.total(ONE, 1) == 7


def test_what_a_process_counted_stays_when_it_dies() -> None:
    area = Area([ONE], places=1)
    pid = os.fork()
    if not pid:
        area.slab(0, ONE)[0] = 1 << 60
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert area.slab(0, ONE)[0] == 1 << 60


def test_one_more_fits_whatever_a_process_before_has_written() -> None:
    area = Area([ONE], places=2)
    area.slab(1, ONE)[0], area.slab(1, ONE)[1] = (1 << 63) - 1, -(1 << 63)
    pid = os.fork()
    if not pid:
        area.enter(1)
        cells = area.slab(1, ONE)
        for cell in range(ONE.size):
            cells[cell] += 1
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert list(area.slab(1, ONE)) == [(1 << 62) + 1, 1, 1]
    assert area.total(ONE, 0) == (1 << 62) + 1


def test_a_histogram_has_its_bounds_inclusive_and_a_sum_in_microseconds() -> None:
    cells = [0] * TWO.size
    buckets = Buckets(cells, TWO, TIME)
    for seconds in (0.05, 0.1, 0.5, 30.0):
        buckets.add(seconds)
    assert cells == [2, 1, 1, 30_650_000]
