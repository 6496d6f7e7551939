"""Decisions by a file in the place of a daemon."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.cli.explain import decision_facts
from faith.cli.explain.decision_facts import Asked, decide
from tests.explained import GOOD

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decision_facts, "CONFIGURATION", tmp_path / "none")


def test_settings_of_a_daemon_that_may_not_be_asked_are_not_made_up() -> None:
    facts = replace(GOOD, daemons=(), hidden=1, explained=None)
    found = decide(facts, Asked(facts.question))
    assert found.explained is None
    assert "only root" in found.explain_error


def test_only_a_file_that_was_asked_for_is_no_guess(tmp_path: Path) -> None:
    facts = replace(GOOD, daemons=(), explained=None)
    assert decide(facts, Asked(facts.question)).guessed
    file = tmp_path / "faith.toml"
    file.write_text('[[service]]\nports = "80"\n')
    asked_for = decide(facts, Asked(facts.question, config=file))
    assert (asked_for.from_file, asked_for.guessed) == (str(file), False)
