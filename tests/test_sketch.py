"""Counting any number of keys in a fixed number of cells."""

from __future__ import annotations

import random

import pytest

from faith.translation.sketch import ALL, COUNTS, ROWS, STAMPED, WIDTH, Pace, Presence, cells_of


def presences(processes: int) -> list[Presence]:
    tables = [[0] * COUNTS for _ in range(processes)]
    return [Presence(tables, mine) for mine in range(processes)]


def count(presence: Presence, key: bytes) -> int:
    return next(n for n in range(1000) if not presence.reaches(cells_of(key), n + 1))


def holds(pace: Pace, cells: tuple[int, ...], level: float, now: float) -> bool:
    """Return whether it is nearly *level*."""
    return pace.exceeds(cells, level - 0.01, now) and not pace.exceeds(cells, level + 0.01, now)


def paces(processes: int, seconds: float = 5.0) -> list[Pace]:
    tables = [[0.0] * STAMPED for _ in range(processes)]
    return [Pace(tables, mine, seconds) for mine in range(processes)]


def test_a_key_has_a_cell_in_every_row_and_none_of_everybodys() -> None:
    for number in range(1000):
        cells = cells_of(number.to_bytes(16, "big"))
        assert cells == cells_of(number.to_bytes(16, "big"))
        assert [(cell - 1) // WIDTH for cell in cells] == list(range(ROWS))
        assert ALL[0] not in cells


def test_a_table_has_room_for_every_cell_and_no_more() -> None:
    assert (ROWS, WIDTH, ALL) == (2, 65536, (0,))
    assert COUNTS == 1 + 2 * 65536
    assert STAMPED == 2 * COUNTS


def test_a_bucket_does_not_exceed_what_it_holds() -> None:
    (pace,) = paces(1)
    pace.add(ALL, 5)
    assert not pace.exceeds(ALL, 1, 5)
    assert pace.exceeds(ALL, 0.999, 5)


def test_all_processes_count_together_and_each_takes_back_its_own() -> None:
    one, other = presences(2)
    cells = cells_of(b"client")
    one.change(cells, 2)
    other.change(cells, 1)
    assert count(one, b"client") == count(other, b"client") == 3
    one.change(cells, -2)
    assert count(other, b"client") == 1


def test_a_count_is_never_too_low_and_seldom_too_high() -> None:
    (presence,) = presences(1)
    chance = random.Random(1)
    keys = [chance.randbytes(16) for _ in range(20_000)]
    for key in keys:
        presence.change(cells_of(key), 1)
    counts = [count(presence, key) for key in keys]
    assert min(counts) >= 1
    assert sum(count > 1 for count in counts) < 0.12 * len(keys)
    assert sum(count > 3 for count in counts) < 0.001 * len(keys)


def test_a_burst_fits_and_then_the_rate_does() -> None:
    (pace,) = paces(1, seconds=5)
    cells = cells_of(b"client")
    rate, now, let_in = 10, 1000.0, [0, 0]
    for step in range(60_000):
        now = 1000.0 + step / 1000
        if not pace.exceeds(cells, rate * 5 - 1, now):
            pace.add(cells, now)
            let_in[step >= 30_000] += 1
    assert let_in[1] == pytest.approx(300, abs=12), "ten a second, in the second half minute"
    assert let_in[0] == pytest.approx(350, abs=12), "and before, fifty at once on top"


def test_buckets_of_processes_add_up() -> None:
    one, other = paces(2)
    cells = cells_of(b"client")
    for _ in range(4):
        one.add(cells, 100.0)
        other.add(cells, 100.0)
    assert holds(one, cells, 8, 100.0)
    assert holds(other, cells, 8, 100.0)
    assert holds(one, cells, 8 / 2.71828, 105.0)
    assert not one.exceeds(cells, 1e-9, 1000.0)


def test_a_clock_that_lags_behind_another_process_does_no_harm() -> None:
    one, other = paces(2)
    one.add(ALL, 100.002)
    assert holds(other, ALL, 1, 100.0)
