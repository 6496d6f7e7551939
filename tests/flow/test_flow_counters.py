from __future__ import annotations

from faith.flow.flow_counters import (
    BEGUN,
    CARRIED,
    ENDED,
    ERRORS,
    LAYOUT,
    LIMITED,
    LOST,
    OCTETS,
    OPEN,
    PACKETS,
    REFUSAL,
    REFUSALS,
    RESTING,
    SLOTS,
    STRAYS,
    SYNS,
    UNTOLD,
    FlowCounters,
)
from faith.kernel.flow.map_kinds import COUNTERS
from faith.translation.reasons import END, OTHER


def test_each_thing_is_counted_in_a_cell_of_its_own() -> None:
    cells = [0] * LAYOUT.size
    counters = FlowCounters(cells)
    counters.begun()
    counters.repeated()
    counters.repeated()
    counters.damaged()
    counters.error("v4")
    counters.carried("v6")
    counters.stray("v4")
    counters.lost("v6")
    counters.flows(7, 5, 9)
    counters.flows(6, 4, 8)
    none = dict.fromkeys(COUNTERS, 0)
    counters.program(none, {name: 2**number for number, name in enumerate(COUNTERS)})
    counters.program(none, {**none, "ring_full": 1})
    assert [*LAYOUT.of(BEGUN, cells)] == [1]
    assert [*LAYOUT.of(SYNS, cells)] == [1, 2, 1]
    assert [*LAYOUT.of(ERRORS, cells)] == [1, 0]
    assert [*LAYOUT.of(CARRIED, cells)] == [0, 1]
    assert [*LAYOUT.of(STRAYS, cells)] == [1, 0]
    assert [*LAYOUT.of(LOST, cells)] == [0, 1]
    gauges = OPEN, RESTING, SLOTS
    assert [*(LAYOUT.of(family, cells)[0] for family in gauges)] == [6, 4, 8]
    assert [*LAYOUT.of(PACKETS, cells)] == [1, 2]
    assert [*LAYOUT.of(LIMITED, cells)] == [8, 16, 32]
    assert [*LAYOUT.of(UNTOLD, cells)] == [65, 256]
    assert sum(cells) == 19 + 8 + 1 + 2 + 8 + 16 + 32 + 65 + 256


def test_refusals_and_ends_are_counted_by_their_reasons_and_unknown_ones_as_other() -> None:
    cells = [0] * LAYOUT.size
    counters = FlowCounters(cells)
    for reason in (*REFUSAL, "a reason that nobody knows"):
        counters.refused(reason)
    for end in (*END, "an end that nobody knows"):
        counters.ended(end, 5, 7)
    refused = dict(zip(REFUSALS.values, LAYOUT.of(REFUSALS, cells), strict=True))
    ended = dict(zip(ENDED.values, LAYOUT.of(ENDED, cells), strict=True))
    assert refused == {**dict.fromkeys(REFUSAL, 1), OTHER: 1}
    assert ended == {**dict.fromkeys(END, 1), OTHER: 1}
    count = len(END) + 1
    assert [*LAYOUT.of(OCTETS, cells)] == [5 * count, 7 * count]


def test_counters_without_cells_have_their_own() -> None:
    FlowCounters().begun()
