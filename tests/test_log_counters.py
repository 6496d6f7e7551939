"""Counters of the log."""

from __future__ import annotations

from faith.daemon.observe.log_counters import LOST, WAITING, own_cells, settle


def test_what_waited_in_a_dead_process_is_lost() -> None:
    cells = own_cells()
    cells[LOST], cells[WAITING] = 2, 3
    settle(cells)
    assert cells == [5, 0]


def test_what_a_process_wrote_there_is_not_trusted() -> None:
    cells = own_cells()
    cells[LOST], cells[WAITING] = (1 << 63) - 1, (1 << 63) - 1
    settle(cells)
    assert cells == [(1 << 63) - 1, 0]
