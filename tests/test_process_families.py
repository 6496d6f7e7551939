"""The samples of processes, limits and servers of names, in the exposition."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from faith.daemon.observe import own_numbers
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.observe.own_numbers import OwnNumbers
from faith.daemon.observe.process_families import Processes
from faith.daemon.observe.process_slots import ProcessState
from faith.dns import server_cells
from faith.dns.server_cells import ServerCells
from faith.version import VERSION

if TYPE_CHECKING:
    Samples = dict[tuple[str, ...], float]


@pytest.fixture
def areas() -> MetricAreas:
    return MetricAreas(2)


def have(areas: MetricAreas, role: str, *, up: bool = True) -> OwnNumbers:
    """Have a process in *role*, and return the numbers that it writes."""
    areas.slots.judge([ProcessState(role, up, 0)])
    place = next(one.place for one in areas.slots.roles if one.name == role)
    numbers = OwnNumbers(areas.area.slab(place, own_numbers.LAYOUT))
    numbers.note()
    return numbers


def samples(areas: MetricAreas, name: str) -> Samples:
    """The samples of that name, by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in Processes(areas.slots).collect()
        for sample in family.samples
        if sample.name == name
    }


def test_what_runs_is_told_once(areas: MetricAreas) -> None:
    ((labels, value),) = samples(areas, "faith_build_info").items()
    assert labels[:2] == (VERSION, platform.python_version())
    assert value == 1


def test_a_process_that_is_up_has_all_numbers(areas: MetricAreas) -> None:
    have(areas, "worker 1")
    for name in (
        "faith_process_up",
        "faith_process_restarts_total",
        "faith_process_heartbeat_age_seconds",
        "faith_process_open",
        "faith_process_begun_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ):
        assert [*samples(areas, name)] == [("worker 1",)], name


def test_one_that_is_down_has_what_its_supervisor_knows(areas: MetricAreas) -> None:
    have(areas, "dns 2", up=False)
    assert samples(areas, "faith_process_up") == {("dns 2",): 0}
    assert samples(areas, "faith_process_restarts_total") == {("dns 2",): 0}
    assert samples(areas, "process_open_fds") == {}
    assert 0 <= samples(areas, "faith_process_heartbeat_age_seconds")["dns 2",] < 60
    areas.slots.judge([ProcessState("dns 1", False, 0)])
    assert samples(areas, "faith_process_heartbeat_age_seconds") == {}, "it has never started"


def test_the_supervisor_has_no_work_of_its_own(areas: MetricAreas) -> None:
    have(areas, "supervisor")
    assert samples(areas, "faith_process_open") == {}
    assert [*samples(areas, "process_open_fds")] == [("supervisor",)]


def test_limits_are_those_that_there_are(areas: MetricAreas) -> None:
    numbers = have(areas, "worker 1")
    numbers.fills["session places"] = lambda: (6, 10)
    numbers.fills["udp flows"] = lambda: (3, own_numbers.NO_LIMIT)
    numbers.note()
    assert samples(areas, "faith_limit_used") == {
        ("session places", "worker 1"): 6,
        ("udp flows", "worker 1"): 3,
    }
    assert samples(areas, "faith_limit_most") == {("session places", "worker 1"): 10}
    assert samples(areas, "faith_shares_in_force") == {("session places", "worker 1"): 1}


def test_the_limit_of_all_sessions_is_used_by_those_of_all_workers(areas: MetricAreas) -> None:
    numbers = have(areas, "supervisor")
    numbers.fills["sessions"] = lambda: (0, 50)
    numbers.note()
    for number in range(2):
        areas.worker(number).opened()
    assert samples(areas, "faith_limit_used") == {("sessions", "supervisor"): 2}
    assert samples(areas, "faith_limit_most") == {("sessions", "supervisor"): 50}
    assert samples(areas, "faith_shares_in_force") == {}


def test_servers_of_names_are_up_or_not(areas: MetricAreas) -> None:
    have(areas, "dns 1")
    place = next(one.place for one in areas.slots.roles if one.name == "dns 1")
    servers = [("192.0.2.1:53", "no answer"), ("192.0.2.2:53", "")]
    ServerCells(areas.area.slab(place, server_cells.LAYOUT)).write(servers)
    assert samples(areas, "faith_dns_server_up") == {
        ("192.0.2.1:53",): 0,
        ("192.0.2.2:53",): 1,
    }
