"""Numbers that go on from one program to the next, and the one after that."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.observe import log, log_counters
from faith.daemon.observe.datagram_sinks import Syslog
from faith.daemon.observe.log import Log
from faith.daemon.observe.metric_areas import MetricAreas
from faith.dns import dns_counters
from faith.kernel.descriptor import descriptors
from faith.relay.tcp import relay_counters
from faith.translation import reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


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


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Log]:
    """The log of this process, whose syslogd is not there."""
    told = Log(Syslog("faithd", tmp_path / "nobody"), "faithd")
    root = logging.getLogger()
    root.addHandler(told)
    yield told
    root.removeHandler(told)
    told._sink._forget()
    told.close()


def lines(places: MetricAreas) -> tuple[int, int]:
    """The log lines that are lost, and those that wait."""
    layout = log_counters.LAYOUT
    lost, waiting = (
        places.area.total(layout, cell) for cell in (log_counters.LOST, log_counters.WAITING)
    )
    return lost, waiting


def be_worker(places: MetricAreas, number: int, end: Callable[[], object]) -> None:
    """Fork a worker that writes three lines."""
    pid = os.fork()
    if not pid:
        try:
            places.enter_worker(number)
            for _ in range(3):
                logging.getLogger("faith").error("a line")
            end()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_lines_of_every_process_are_counted(
    installed: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FINISH", 0.0)
    places = MetricAreas(2)
    logging.getLogger("faith").error("the supervisor's")
    assert lines(places) == (0, 1)
    be_worker(places, 0, log.finish)
    assert lines(places) == (3, 1), "one that ends in peace counts what it could not write"
    be_worker(places, 1, lambda: None)
    assert lines(places) == (3, 4)
    places.worker_gone(1)
    assert lines(places) == (6, 1), "its supervisor counts for one that was killed"
    assert places.lost_log_lines() == 6
    be_worker(places, 1, lambda: None)
    be_worker(places, 1, lambda: None)
    assert lines(places) == (9, 4), "or the next one in its place"


@pytest.mark.usefixtures("installed")
def test_lines_of_a_worker_of_before_are_counted() -> None:
    first = MetricAreas(2)
    be_worker(first, 1, lambda: None)
    second = MetricAreas(2, first.state())
    assert lines(second) == (0, 3)
    second.old_worker_gone(1)
    assert lines(second) == (3, 0)


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
