"""How the daemon is, told by one process and read by another."""

from __future__ import annotations

import time

from faith.daemon.observe.health import (
    DRAINING,
    GOOD_RELOAD,
    LAME_DUCK,
    LAYOUT,
    PROXIES,
    RELOADED,
    RELOADS,
    REPAIRS,
    RESTARTS,
    STEERING,
    UPGRADES,
    RelayHealth,
)


def condition() -> tuple[RelayHealth, list[int]]:
    cells = [0] * LAYOUT.size
    return RelayHealth(cells), cells


def test_it_is_ready_when_everything_is_there() -> None:
    told, _ = condition()
    assert list(told.obstacles()) == [
        "no worker serves",
        "nothing is steered",
        "no prefix is reserved",
    ]
    told.serving(1, 0)
    told.steered(["route"], prefixes=1)
    assert list(told.obstacles()) == []
    told.drain()
    assert list(told.obstacles()) == ["draining"]
    told.drain(drains=False)
    assert list(told.obstacles()) == []


def test_a_proxy_serves_clients_without_a_prefix() -> None:
    told, cells = condition()
    told.serving(1, 0)
    told.steered(["route"], prefixes=0)
    assert list(told.obstacles()) == ["no prefix is reserved"]
    told.proxies(2)
    assert list(told.obstacles()) == []
    assert cells[LAYOUT.start(PROXIES)] == 2


def test_a_lame_duck_is_not_ready_although_it_serves() -> None:
    told, cells = condition()
    told.serving(1, 0)
    told.steered(["route"], prefixes=1)
    told.lame_duck(on=True)
    assert list(told.obstacles()) == ["lame duck: it drains soon"]
    assert cells[LAYOUT.start(LAME_DUCK)] == 1
    assert cells[LAYOUT.start(DRAINING)] == 0
    told.lame_duck(on=False)
    assert list(told.obstacles()) == []


def test_it_is_not_ready_while_a_process_hangs() -> None:
    told, _ = condition()
    told.serving(2, 0)
    told.steered(["route"], prefixes=1)
    told.late(1)
    assert list(told.obstacles()) == ["1 process does not answer"]
    told.late(2)
    assert list(told.obstacles()) == ["2 processes do not answer"]
    told.late(0)
    assert list(told.obstacles()) == []


def test_with_a_quorum_it_is_ready_while_so_many_workers_answer() -> None:
    told, _ = condition()
    told.serving(3, 0)
    told.steered(["route"], prefixes=1)
    told.able(2)
    told.late(1)
    assert list(told.obstacles()) == ["1 process does not answer"]
    told.need(2)
    assert list(told.obstacles()) == []
    told.able(1)
    assert list(told.obstacles()) == ["1 of the 2 workers that are needed answer"]
    told.able(2)
    told.others_late(1)  # the name server, say
    assert list(told.obstacles()) == ["1 process does not answer"]


def test_it_is_not_ready_while_a_probe_fails() -> None:
    told, _ = condition()
    told.serving(1, 0)
    told.steered(["route"], prefixes=1)
    told.failing(1)
    assert list(told.obstacles()) == ["1 probe fails"]
    told.failing(2)
    assert list(told.obstacles()) == ["2 probes fail"]


def test_a_way_that_is_left_is_no_longer_told() -> None:
    told, cells = condition()
    told.steered(["route", "redirect"], prefixes=2)
    told.steered(["tproxy"], prefixes=2)
    assert list(LAYOUT.of(STEERING, cells)) == [0, 0, 1, 0]


def test_the_last_reload_is_known_by_its_result_and_the_last_good_one_by_its_time() -> None:
    told, cells = condition()
    told.configured()
    (good,) = LAYOUT.of(GOOD_RELOAD, cells)
    assert abs(time.time() - good) < 60
    assert [*LAYOUT.of(RELOADED, cells)] == [1]
    cells[LAYOUT.start(GOOD_RELOAD)] = 5
    told.reloaded(good=False)
    assert [*LAYOUT.of(RELOADED, cells), *LAYOUT.of(GOOD_RELOAD, cells)] == [0, 5]
    told.reloaded(good=True)
    assert [*LAYOUT.of(RELOADED, cells)] == [1]
    assert cells[LAYOUT.start(GOOD_RELOAD)] >= good


def test_what_happened_is_counted() -> None:
    told, cells = condition()
    told.serving(2, 3)
    told.reloaded(good=True)
    told.reloaded(good=False)
    told.repaired(good=True)
    assert cells[LAYOUT.start(RESTARTS)] == 3
    assert list(LAYOUT.of(RELOADS, cells)) == [1, 1]
    assert list(LAYOUT.of(REPAIRS, cells)) == [1, 0]
    told.upgraded(good=True)
    told.upgraded(good=False)
    assert list(LAYOUT.of(UPGRADES, cells)) == [1, 1]
