"""Quantiles of the time of dialling, in buckets and over a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.daemon.observe.dial_history import STEP, WINDOW, DialHistory, quantile
from faith.kernel.shared.shared_counters import Area
from faith.relay.tcp import relay_counters
from faith.relay.tcp.relay_counters import Counters

BOUNDS = (0.1, 0.2, 1.0)


def test_a_quantile_is_interpolated_in_its_bucket() -> None:
    assert quantile(BOUNDS, [0, 10, 0, 0], 0.5) == pytest.approx(0.15)
    assert quantile(BOUNDS, [10, 10, 0, 0], 0.5) == pytest.approx(0.1)
    assert quantile(BOUNDS, [10, 10, 0, 0], 0.75) == pytest.approx(0.15)
    assert quantile(BOUNDS, [0, 0, 4, 0], 1.0) == pytest.approx(1.0)


def test_what_is_above_all_bounds_counts_as_the_last() -> None:
    assert quantile(BOUNDS, [0, 0, 0, 3], 0.95) == 1.0


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile(BOUNDS, [0, 0, 0, 0], 0.5) is None


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts: list[int], part: float) -> None:
    found = quantile(BOUNDS, counts, part)
    if not sum(counts):
        assert found is None
        return
    assert found is not None
    rank, below = part * sum(counts), 0
    for lower, upper, count in zip((0.0, *BOUNDS), (*BOUNDS, 1.0), counts, strict=True):
        if rank <= below + count and count:
            assert lower <= found + 1e-9
            assert found <= upper + 1e-9
            return
        below += count


class Dials:
    """An area with one worker, and its history."""

    def __init__(self) -> None:
        self.area = Area([relay_counters.LAYOUT], 2)
        self.counters = Counters(self.area.slab(0, relay_counters.LAYOUT))
        self.history = DialHistory(self.area)

    def count(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.counters.dialled(seconds)


def test_recent_is_what_was_dialled_within_the_window() -> None:
    dials = Dials()
    dials.count(0.004, 100)
    now = 1000.0
    dials.history.note(now)
    dials.count(0.4, 10)
    report = dials.history.report()
    assert report.count == 110
    assert report.p50 is not None
    assert report.p50 <= 0.005
    assert report.recent_p50 is not None
    assert 0.25 < report.recent_p50 <= 0.5
    while now < 1000 + WINDOW + 2 * STEP:
        now += 1
        dials.history.note(now)
    report = dials.history.report()
    assert (report.recent_p50, report.recent_p95) == (None, None)
    assert report.count == 110


def test_without_connections_there_are_no_quantiles() -> None:
    report = Dials().history.report()
    assert (report.count, report.p50, report.p95, report.recent_p50) == (0, None, None, None)


def test_snapshots_are_few_however_often_they_are_asked_for() -> None:
    dials = Dials()
    for tenth in range(3000):
        dials.history.note(tenth / 10)
    assert len(dials.history._snapshots) <= WINDOW / STEP + 2
