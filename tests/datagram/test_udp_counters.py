from __future__ import annotations

from faith.datagram.udp.udp_counters import (
    BEGUN,
    DATAGRAMS,
    ERRORS,
    FLOWS,
    LAYOUT,
    LOST,
    OCTETS,
    REFUSALS,
    UdpCounters,
)
from faith.translation.reasons import DATAGRAM, OTHER


def test_datagrams_are_counted_with_their_octets_by_where_they_go() -> None:
    cells = [0] * LAYOUT.size
    counters = UdpCounters(cells)
    counters.to_v4(100)
    counters.to_v4(0)
    counters.to_v6(7)
    assert [*LAYOUT.of(DATAGRAMS, cells)] == [2, 1]
    assert [*LAYOUT.of(OCTETS, cells)] == [100, 7]
    assert sum(cells) == 110


def test_errors_losses_and_flows_have_cells_of_their_own() -> None:
    cells = [0] * LAYOUT.size
    counters = UdpCounters(cells)
    counters.error("v6")
    counters.lost()
    counters.lost()
    counters.begun()
    counters.begun()
    counters.flows(9)
    counters.flows(5)
    assert [*LAYOUT.of(ERRORS, cells)] == [0, 1]
    assert [*LAYOUT.of(LOST, cells)] == [2]
    assert [*LAYOUT.of(FLOWS, cells)] == [5]
    assert [*LAYOUT.of(BEGUN, cells)] == [2]
    assert sum(cells) == 10


def test_a_refusal_is_counted_by_its_reason_and_an_unknown_one_as_other() -> None:
    cells = [0] * LAYOUT.size
    counters = UdpCounters(cells)
    for reason in (*DATAGRAM, "a reason that nobody knows"):
        counters.refused(reason)
    counted = dict(zip(REFUSALS.values, LAYOUT.of(REFUSALS, cells), strict=True))
    assert counted == {**dict.fromkeys(DATAGRAM, 1), OTHER: 1 + (OTHER in DATAGRAM)}
