"""The step of a live trace."""

from __future__ import annotations

from dataclasses import replace

from faith.cli.explain import live_steps
from faith.cli.explain.facts import Live
from tests.explained import GOOD


def test_nothing_is_said_without_a_trace() -> None:
    assert list(live_steps.steps(GOOD)) == []


def test_the_interface_is_told_where_it_is_known() -> None:
    (step,) = live_steps.steps(replace(GOOD, live=Live(True, 2)))
    assert "by eth0" in step.text
    (step,) = live_steps.steps(replace(GOOD, live=Live(True, 99)))
    assert "by " not in step.text
