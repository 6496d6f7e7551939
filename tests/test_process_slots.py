"""Processes by their roles, as their supervisor and they themselves write about them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from faith.daemon.observe import own_numbers
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.observe.own_numbers import OwnNumbers
from faith.daemon.observe.process_slots import Fill, ProcessNumbers, ProcessState
from faith.daemon.observe.roles import DNS, WORKER

if TYPE_CHECKING:
    from faith.daemon.observe.process_slots import ProcessSlots


@pytest.fixture
def areas() -> MetricAreas:
    return MetricAreas(2)


def place_of(slots: ProcessSlots, name: str) -> int:
    return next(role.place for role in slots.roles if role.name == name)


def write(slots: ProcessSlots, name: str) -> OwnNumbers:
    """Write numbers as the process in that role would."""
    cells = slots.area.slab(place_of(slots, name), own_numbers.LAYOUT)
    numbers = OwnNumbers(cells)
    numbers.note()
    return numbers


def found(slots: ProcessSlots) -> dict[str, ProcessNumbers]:
    return {one.role: one for one in slots}


def test_only_processes_that_are_wanted_are_listed(areas: MetricAreas) -> None:
    slots = areas.slots
    assert found(slots) == {}
    slots.judge([ProcessState("worker 2", True, 0), ProcessState("dns 1", False, 0)])
    assert {name: one.up for name, one in found(slots).items()} == {
        "worker 2": True,
        "dns 1": False,
    }
    assert slots.has(WORKER)
    assert slots.has(DNS)
    slots.judge([ProcessState("worker 2", True, 0)])
    assert [*found(slots)] == ["worker 2"]
    assert not slots.has(DNS)


def test_one_of_two_processes_in_a_role_is_enough(areas: MetricAreas) -> None:
    areas.slots.judge([ProcessState("dns 1", True, 0), ProcessState("dns 1", False, 0)])
    assert found(areas.slots)["dns 1"].up


def test_restarts_add_up_and_foreign_roles_do_no_harm(areas: MetricAreas) -> None:
    slots = areas.slots
    for _ in range(2):
        slots.judge([ProcessState("worker 1", True, 1), ProcessState("worker 99", True, 1)])
    assert found(slots)["worker 1"].restarts == 2
    cells = slots.area.slab(place_of(slots, "worker 1"), own_numbers.LAYOUT)
    cells[own_numbers.LAYOUT.start(own_numbers.RESTARTS)] = (1 << 63) - 1
    slots.judge([ProcessState("worker 1", True, 1)])
    assert found(slots)["worker 1"].restarts == (1 << 63) - 1


def test_a_process_is_known_by_what_it_wrote(areas: MetricAreas) -> None:
    slots = areas.slots
    numbers = write(slots, "worker 1")
    numbers.fills["session places"] = lambda: (6, 10)
    numbers.note()
    slots.judge([ProcessState("worker 1", True, 0)])
    process = found(slots)["worker 1"]
    assert process.pid == os.getpid()
    assert process.heard < 60
    assert process.memory > 0
    assert process.descriptors > 0
    assert process.fills == (Fill("session places", 6, 10),)
    assert process.fills[0].is_shared_out
    slots.judge([ProcessState("worker 1", False, 0)])
    assert found(slots)["worker 1"].fills == (), "it is another process's by now, or nobody's"


def test_a_table_is_shared_out_from_more_than_half_on() -> None:
    assert not Fill("session places", 5, 10).is_shared_out
    assert Fill("session places", 6, 10).is_shared_out
    assert not Fill("udp flows", 6, None).is_shared_out
    assert not Fill("sessions", 6, 10).is_shared_out, "a limit without shares"


def test_sessions_are_counted_by_worker(areas: MetricAreas) -> None:
    slots = areas.slots
    for number, count in enumerate((3, 1)):
        for _ in range(count):
            areas.worker(number).opened()
    areas.worker_gone(1)
    slots.judge(ProcessState(f"worker {number}", True, 0) for number in (1, 2))
    assert [(one.open, one.begun) for one in slots] == [(3, 3), (0, 1)]


def test_what_a_predecessor_counted_is_no_workers(areas: MetricAreas) -> None:
    """It is in the sum, by the slab of the supervisor once it is settled."""
    areas.worker(0).opened()
    second = MetricAreas(2, areas.state())
    third = MetricAreas(2, second.state())
    third.slots.judge([ProcessState("worker 1", True, 0)])
    assert third.open_sessions() == 0
    assert found(third.slots)["worker 1"].begun == 0
