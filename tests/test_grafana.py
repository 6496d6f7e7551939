"""The dashboard of contrib/grafana: fit for any Grafana, about metrics that there are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboard import DASHBOARD, PANELS, QUERIES, filled
from tests.promql import exposed, families, samples, selectors

TOLD = exposed()


@pytest.mark.parametrize(("title", "name", "query"), QUERIES)
def test_a_query_is_about_metrics_that_there_are(title: str, name: str, query: str) -> None:
    told = samples(TOLD)
    found = selectors(filled(query))
    assert found
    assert [one for one in found if not any(map(one.selects, told))] == []
    assert query.count('job=~"$job", instance=~"$instance"') == len(found)


def test_every_family_is_shown() -> None:
    shown = {selector.name for _, _, query in QUERIES for selector in selectors(query)}
    names = {name.removesuffix("_total").removesuffix("_bucket") for name in shown}
    missing = families(TOLD) - names
    assert missing == {"faith_worker_restarts", "process_start_time_seconds"}, "others have these"


def test_it_has_the_rows_that_operators_look_for() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        *("Overview", "Sessions by path", "Ends and refusals", "Dialling", "Limits", "Processes"),
        *("DNS", "UDP and ping", "Kernel path"),
    ]


def test_it_belongs_to_no_server_and_no_time() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["time"] == {"from": "now-6h", "to": "now"}
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    assert sources(DASHBOARD) == {"${datasource}", "-- Grafana --"}


def sources(part: Any) -> set[str]:
    """The data sources that *part* of the dashboard names."""
    if isinstance(part, list):
        return {name for one in part for name in sources(one)}
    if not isinstance(part, dict):
        return set()
    own = {part["datasource"]["uid"]} if "datasource" in part else set()
    return own | {name for one in part.values() for name in sources(one)}


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
