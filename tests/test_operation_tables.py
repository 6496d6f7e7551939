"""The tables of docs/operation.rst: every metric, its kind and labels; every limit."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from faith.daemon.observe.own_numbers import TABLES
from tests.promql import exposed

TEXT = (Path(__file__).parents[1] / "docs/operation.rst").read_text()
ROW = re.compile(
    r"^((?:faith|process)_\w+)(?:\{([\w,]+)\})? +(counter|gauge|histogram)\b", re.MULTILINE
)


def test_the_table_of_metrics_is_whole() -> None:
    rows = {name: (kind, set(labels.split(",")) - {""}) for name, labels, kind in ROW.findall(TEXT)}
    told = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(exposed())
    }
    assert len(told) > 60
    assert rows == told
    assert len(ROW.findall(TEXT)) == len(rows)


def test_the_table_of_limits_is_whole() -> None:
    _, _, rest = TEXT.partition("``limit``  ")
    table, _, _ = rest.partition("``process_open_fds``")
    assert tuple(re.findall(r"^``([\w -]+)``  +\S", table, re.MULTILINE)) == TABLES
