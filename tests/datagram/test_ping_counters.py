from __future__ import annotations

from faith.datagram.ping.ping_counters import (
    ERRORS,
    LAYOUT,
    REFUSALS,
    REPLIES,
    REQUESTS,
    PingCounters,
)
from faith.translation.reasons import OTHER, PING


def test_each_event_is_counted_in_the_cell_of_its_label() -> None:
    cells = [0] * LAYOUT.size
    counters = PingCounters(cells)
    counters.asked("v4")
    counters.asked("v6")
    counters.asked("v6")
    counters.replied("v4")
    counters.failed("v6")
    assert [*LAYOUT.of(REQUESTS, cells)] == [1, 2]
    assert [*LAYOUT.of(REPLIES, cells)] == [1, 0]
    assert [*LAYOUT.of(ERRORS, cells)] == [0, 1]
    assert sum(cells) == 5


def test_a_refusal_is_counted_by_its_reason_and_an_unknown_one_as_other() -> None:
    cells = [0] * LAYOUT.size
    counters = PingCounters(cells)
    for reason in (*PING, "a reason that nobody knows"):
        counters.refused(reason)
    counted = dict(zip(REFUSALS.values, LAYOUT.of(REFUSALS, cells), strict=True))
    assert counted == {**dict.fromkeys(PING, 1), OTHER: 1 + (OTHER in PING)}


def test_the_lent_identifiers_are_a_number_that_is_set() -> None:
    cells = [0] * LAYOUT.size
    counters = PingCounters(cells)
    counters.in_use(7)
    counters.in_use(3)
    assert sum(cells) == 3


def test_without_cells_it_counts_for_nobody() -> None:
    one, other = PingCounters(), PingCounters()
    one.asked("v4")
    other.refused("anything")
    assert one._cells != other._cells
