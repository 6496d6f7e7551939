"""Numbers that go on from one program to the next, and the one after that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faith.daemon.observe.metric_areas import MetricAreas
from faith.dns import dns_counters
from faith.kernel.descriptor import descriptors
from faith.relay.tcp import relay_counters
from faith.translation import reasons


def totals(places: MetricAreas) -> dict[str, int]:
    """The sessions by their ends, and the queries for names."""
    layout, names = relay_counters.LAYOUT, dns_counters.LAYOUT
    ends = layout.cells(relay_counters.SESSIONS).items()
    found = {end: places.area.total(layout, cell) for end, cell in ends}
    found["queries"] = places.area.total(names, names.start(dns_counters.QUERIES))
    return {name: number for name, number in found.items() if number}


def session() -> Any:
    return SimpleNamespace(end="closed", moved=(1, 1), counted=(0, 0))


def use(places: MetricAreas, sessions: int) -> None:
    """Have two workers with a session each that goes on, and others that have ended."""
    for number in range(2):
        worker = places.worker(number)
        for _ in range(sessions):
            worker.opened()
            worker.ended(session())
        worker.opened()
    places.name_server(0).datagrams(1, 1)


def test_three_programs_count_together() -> None:
    first = MetricAreas(2)
    use(first, 3)
    second = MetricAreas(2, first.state())
    assert totals(second) == totals(first) == {"closed": 6, "queries": 1}
    assert second.open_sessions() == 2
    for number in range(2):
        first.worker(number).handed_over(session())
        second.worker(number).opened()
    use(second, 1)
    assert second.open_sessions() == 4
    for number in range(2):
        for _ in range(2):
            second.worker(number).ended(session())
    third = MetricAreas(5, second.state())
    use(third, 0)
    assert totals(third) == {"closed": 12, "queries": 3}
    assert third.open_sessions() == 2
    assert len(third.state()) == len(descriptors(third.state())) == 2


def test_sessions_that_died_with_a_worker_of_before_are_counted() -> None:
    first = MetricAreas(2)
    use(first, 0)
    second = MetricAreas(2, first.state())
    second.old_worker_gone(1)
    assert second.open_sessions() == 1
    assert totals(second)[reasons.LOST] == 1
    MetricAreas(2).old_worker_gone(0)
