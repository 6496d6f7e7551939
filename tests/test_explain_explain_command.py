"""The command: its words, its exit statuses and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.cli import faith
from faith.cli.explain import doctor, gathering, live_trace
from faith.cli.explain.doctor import Check
from faith.errors import SetupError
from tests.explained import GOOD

if TYPE_CHECKING:
    from faith.cli.explain.decision_facts import Asked
    from faith.cli.explain.facts import Facts

QUESTION = ("explain", "2001:db8:6::2", "192.0.2.80:80")


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    """The facts that are gathered, the last of the list."""
    found = [GOOD]

    def gather(asked: Asked) -> Facts:
        return replace(found[-1], question=asked.question)

    monkeypatch.setattr(gathering, "gather", gather)
    return found


def test_the_exit_status_says_what_was_found(facts: list[Facts]) -> None:
    assert faith.main(QUESTION) == 0
    facts.append(replace(GOOD, daemons=()))
    assert faith.main(QUESTION) == 1
    facts.append(replace(GOOD, ruleset=None, ruleset_error="no right"))
    assert faith.main(QUESTION) == 3


@pytest.mark.usefixtures("facts")
def test_what_cannot_be_asked_does_not_say_that_the_connection_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(facts: Facts) -> Facts:
        raise SetupError("trace packets", "Operation not permitted", "run it as root")

    monkeypatch.setattr(live_trace, "watch", refuse)
    assert faith.main([*QUESTION, "--live"]) == 3
    assert "run it as root" in capsys.readouterr().err


@pytest.mark.usefixtures("facts")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    faith.main([*QUESTION, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert found["question"] == {
        "client": "2001:db8:6::2",
        "destination": "192.0.2.80",
        "port": 80,
        "protocol": "tcp",
        "proxied": False,
    }
    assert found["verdict"]["works"] is True
    assert {"step", "state", "text", "where", "action"} <= found["steps"][0].keys()


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "2001:db8:6::2"),
        ("explain", "--dial"),
        ("explain", "x", "192.0.2.80"),
        (*QUESTION, "--udp", "--ping"),
        (*QUESTION, "--dns", "name"),
        (*QUESTION, "--dns", "[::1]:99999"),
        ("explain", "--config", "faith.toml"),
    ],
)
def test_wrong_words(words: tuple[str, ...]) -> None:
    assert faith.main(words) == 2


def test_the_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    checks = [Check("clock", "ok", "right")]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    assert faith.main(["explain"]) == 0
    checks.append(Check("tcp", "amiss", "wrong", "mend it"))
    capsys.readouterr()
    assert faith.main(["explain", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["checks"][1] == {
        "check": "tcp",
        "state": "amiss",
        "text": "wrong",
        "action": "mend it",
    }
