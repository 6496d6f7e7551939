"""The numbers of a status report, from the slabs of processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from faith.daemon.observe import own_numbers
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.observe.own_numbers import OwnNumbers
from faith.daemon.observe.process_slots import ProcessState
from faith.daemon.observe.report_numbers import name_servers, names, proxied, traffic, uses
from faith.daemon.observe.status_report import NameServer, Proxied, Traffic
from faith.dns import server_cells
from faith.dns.server_cells import ServerCells


def have(areas: MetricAreas, *roles: str) -> dict[str, OwnNumbers]:
    """Have processes in *roles*; return the numbers that each writes."""
    areas.slots.judge(ProcessState(role, True, 0) for role in roles)
    places = {role.name: role.place for role in areas.slots.roles}
    return {role: OwnNumbers(areas.area.slab(places[role], own_numbers.LAYOUT)) for role in roles}


@pytest.fixture
def areas() -> MetricAreas:
    return MetricAreas(2)


def session(end: str, moved: tuple[int, int]) -> Any:
    return SimpleNamespace(end=end, moved=moved, counted=(0, 0))


def test_relayed_sessions_are_added_up_by_their_ends(areas: MetricAreas) -> None:
    have(areas, "worker 1", "worker 2")
    for number in range(2):
        worker = areas.worker(number)
        for _ in range(3):
            worker.opened()
        worker.ended(session("closed", (10, 20)))
        worker.ended(session("refused", (0, 0)))
        worker.refused("denied by a rule: line 7")
    assert traffic(areas.slots) == [
        Traffic("relay", 2, 6, 20, 40, {"closed": 2, "refused": 2}, {"denied by a rule": 2})
    ]


def test_what_clients_of_proxies_do(areas: MetricAreas) -> None:
    assert proxied(areas.slots, has_proxies=False) is None
    assert proxied(areas.slots, has_proxies=True) == Proxied()
    for number in range(2):
        worker = areas.worker(number)
        worker.proxied(2)
        worker.proxied(-1)
        worker.proxy_request("socks5")
        worker.refused("no such name")
        worker.refused("denied by a rule")
    areas.worker(0).associations(3)
    found = Proxied(2, 3, {"socks5": 2}, {"no such name": 2})
    assert proxied(areas.slots, has_proxies=False) == found
    areas.worker(1).lost()
    assert proxied(areas.slots, has_proxies=True) == Proxied(
        1, 3, {"socks5": 2}, {"no such name": 2}
    )


def test_each_path_that_is_there_or_was_used_is_reported(areas: MetricAreas) -> None:
    have(areas, "worker 1", "flows", "udp")
    areas.ping().asked("v4")
    flows, udp = areas.flows(), areas.udp()
    flows.begun()
    flows.ended("closed", 5, 7)
    flows.begun()
    flows.flows(1, 0, 8)
    flows.refused("shed")
    udp.begun()
    udp.flows(1)
    udp.to_v4(100)
    udp.to_v6(30)
    udp.refused("filtered")
    assert traffic(areas.slots) == [
        Traffic("relay"),
        Traffic("kernel", 1, 2, 5, 7, {"closed": 1}, {"shed": 1}),
        Traffic("udp", 1, 1, 100, 30, {}, {"filtered": 1}),
        Traffic("ping", 0, 1),
    ]


def test_uses_are_by_process_but_for_sessions_which_all_share(areas: MetricAreas) -> None:
    numbers = have(areas, "supervisor", "worker 1", "worker 2")
    numbers["supervisor"].fills["sessions"] = lambda: (0, 100)
    for worker in (1, 2):
        numbers[f"worker {worker}"].fills["session places"] = lambda n=worker: (n, 50)  # type: ignore[misc]
        areas.worker(worker - 1).opened()
    for one in numbers.values():
        one.note()
    found = [(use.name, use.used, use.limit, use.process) for use in uses(areas.slots)]
    tables = [use for use in found if use[0] != "descriptors"]
    assert tables == [
        ("sessions", 2, 100, ""),
        ("session places", 1, 50, "worker 1"),
        ("session places", 2, 50, "worker 2"),
    ]
    assert [use[3] for use in found if use[0] == "descriptors"] == [*numbers]
    assert all(0 < use[1] < (use[2] or 0) for use in found if use[0] == "descriptors")


def test_sessions_without_a_limit_are_counted_all_the_same(areas: MetricAreas) -> None:
    numbers = have(areas, "supervisor")
    numbers["supervisor"].fills["sessions"] = lambda: (0, 0)
    numbers["supervisor"].note()
    areas.worker(0).opened()
    assert (uses(areas.slots)[0].used, uses(areas.slots)[0].limit) == (1, None)


def test_names_are_reported_where_they_are_answered(areas: MetricAreas) -> None:
    assert names(areas.slots) is None
    have(areas, "dns 1", "dns 2")
    for number in range(2):
        counters = areas.name_server(number)
        counters.datagrams(5, 3)
        counters.stream(at_once=True)
        counters.answered("looked up")
        counters.answered("failed")
        counters.synthesised()
    report = names(areas.slots)
    assert report is not None
    assert (report.queries, report.at_once, report.looked_up) == (12, 8, 2)
    assert (report.stale, report.failed, report.synthesised) == (0, 2, 2)


def test_a_server_is_healthy_unless_a_process_says_otherwise(areas: MetricAreas) -> None:
    have(areas, "dns 1", "dns 2")
    places = {role.name: role.place for role in areas.slots.roles}
    told = {
        "dns 1": [("192.0.2.1:53", ""), ("192.0.2.2:53", "")],
        "dns 2": [("192.0.2.1:53", "no answer"), ("192.0.2.2:53", "")],
    }
    for role, servers in told.items():
        ServerCells(areas.area.slab(places[role], server_cells.LAYOUT)).write(servers)
    assert name_servers(areas.slots) == [
        NameServer("192.0.2.1:53", False, "no answer"),
        NameServer("192.0.2.2:53", True, ""),
    ]
    have(areas, "dns 1")
    assert [server.healthy for server in name_servers(areas.slots)] == [True, True]
