"""Metrics as Prometheus reads them: by its client's parser, and by promtool where there is one."""

from __future__ import annotations

import subprocess
from array import array
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from faith.daemon.observe.exposition import Exposition
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.observe.process_slots import ProcessState
from faith.daemon.observe.roles import SUPERVISOR
from tests.promql import exposed

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def areas() -> MetricAreas:
    """Two workers and a supervisor."""
    return MetricAreas(2)


def sample(text: str, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in parse(text)
        for sample in family.samples
        if (sample.name, sample.labels) == (name, labels)
    ]
    assert len(found) == 1, name
    return found[0]


def text(areas: MetricAreas) -> str:
    body, content_type = Exposition(areas.slots).text("")
    assert content_type.startswith("text/plain; version=0.0.4")
    return body.decode()


def test_workers_are_added_up(areas: MetricAreas) -> None:
    for place, refusals in enumerate((2, 3)):
        counted = areas.worker(place)
        counted.opened()
        for _ in range(refusals):
            counted.refused("prefix gone")
    told = text(areas)
    assert sample(told, "faith_sessions_open") == 2
    assert sample(told, "faith_refusals_total", reason="prefix gone") == 5
    assert sample(told, "faith_refusals_total", reason="shed") == 0


def test_a_histograms_buckets_hold_what_is_below_them(areas: MetricAreas) -> None:
    counted = areas.worker(0)
    for seconds in (0.002, 0.3, 60):
        counted.dialled(seconds)
    told = text(areas)
    assert sample(told, "faith_dial_seconds_bucket", le="0.0025") == 1
    assert sample(told, "faith_dial_seconds_bucket", le="10.0") == 2
    assert sample(told, "faith_dial_seconds_bucket", le="+Inf") == 3
    assert sample(told, "faith_dial_seconds_count") == 3
    assert sample(told, "faith_dial_seconds_sum") == pytest.approx(60.302)


def test_who_asks_for_openmetrics_gets_that(areas: MetricAreas) -> None:
    body, content_type = Exposition(areas.slots).text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("anything", [-1, -(1 << 63), (1 << 63) - 1])
def test_a_process_that_was_taken_over_spoils_no_numbers_but_its_own(
    areas: MetricAreas, anything: int
) -> None:
    roles = areas.slots.roles
    areas.slots.judge(ProcessState(role.name, True, 0) for role in roles)
    areas.worker(1).refused("shed")
    for role in roles:
        if role.name not in (SUPERVISOR, "worker 2"):
            for layout in areas.area.layouts:
                cells = areas.area.slab(role.place, layout)
                cells[:] = memoryview(array("q", [anything] * layout.size))
    body, _ = Exposition(areas.slots).text("application/openmetrics-text; version=1.0.0")
    families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    samples = [one for family in families for one in family.samples]
    assert all(one.value >= 0 for one in samples)
    assert sample(text(areas), "faith_refusals_total", reason="shed") >= 1


def test_promtool_finds_nothing_to_say(need: Callable[[str], str]) -> None:
    check = [need("promtool"), "check", "metrics"]
    subprocess.run(check, check=True, input=exposed(), text=True)
