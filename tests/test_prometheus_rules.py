"""The alerts of contrib/prometheus: about metrics that there are, and tested by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.promql import exposed, samples, selectors

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = Path(__file__).parents[1] / "contrib/prometheus"
RULES, TESTS = DIRECTORY / "faith.rules.yml", DIRECTORY / "faith.rules.test.yml"
_ALERT = re.compile(
    r"- alert: (\w+)\n        expr: (?:>-\n +)?(.*?)\n        (?:for|labels):", re.DOTALL
)
ALERTS = dict(_ALERT.findall(RULES.read_text()))
"""The expression of each alert."""


def test_every_alert_is_found() -> None:
    assert len(ALERTS) == RULES.read_text().count("- alert:") > 20


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_about_metrics_that_there_are(alert: str) -> None:
    told = samples(exposed())
    found = selectors(ALERTS[alert])
    assert found or alert == "FaithIsDown"
    assert [one for one in found if not any(map(one.selects, told))] == []


def test_a_label_that_is_not_there_would_be_found() -> None:
    told = samples(exposed())
    for query in (
        'faith_refusals_total{reason="shedd"}',
        "faith_nonsense",
        'faith_workers{way="x"}',
    ):
        (selector,) = selectors(f"rate({query}[5m])")
        assert not any(map(selector.selects, told))


def test_promtool_reads_the_alerts(need: Callable[[str], str]) -> None:
    subprocess.run([need("promtool"), "check", "rules", str(RULES)], check=True)


def run_tests(promtool: str, directory: Path) -> subprocess.CompletedProcess[str]:
    tests = str(directory / TESTS.name)
    return subprocess.run(
        [promtool, "test", "rules", tests], check=False, text=True, capture_output=True
    )


def test_every_alert_fires_and_does_not_fire(need: Callable[[str], str]) -> None:
    result = run_tests(need("promtool"), DIRECTORY)
    assert result.returncode == 0, result.stdout + result.stderr
    groups = TESTS.read_text().split("  - interval: 1m\n")[1:]
    for group in groups:
        assert 'instance="good"' in group
        assert 'instance: "good"' not in group
    fired = [re.findall(r"alertname: (\w+)\n        exp_alerts:\n", group) for group in groups]
    assert {alert for one in fired for alert in one} == set(ALERTS)
    waits = set(
        re.findall(r"- alert: (\w+)\n(?:(?!- alert).)*?  for:", RULES.read_text(), re.DOTALL)
    )
    assert (
        set(re.findall(r"alertname: (\w+)\n        exp_alerts: \[\]", TESTS.read_text())) == waits
    )


@pytest.mark.parametrize("comparison", ["< 0", ">= 0"], ids=["never", "always"])
def test_alerts_that_fire_otherwise_are_found(
    need: Callable[[str], str], tmp_path: Path, comparison: str
) -> None:
    """Of one that fires always, the tests see it of the good gateway, too."""
    shutil.copy(TESTS, tmp_path)
    changed = RULES.read_text()
    for query in ALERTS.values():
        metric = re.search(r"\b(?:up|faith_\w+|process_\w+)\b", query)
        assert metric
        changed = changed.replace(f" {query}\n", f" {metric[0]} {comparison}\n")
    (tmp_path / RULES.name).write_text(changed)
    result = run_tests(need("promtool"), tmp_path)
    assert result.returncode == 1
    assert set(re.findall(r"alertname: (\w+)", result.stdout + result.stderr)) == set(ALERTS)
