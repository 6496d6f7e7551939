"""The commands to a running faithd: their requests and their output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faith.cli import control_client, faith, sessions
from faith.daemon.upgrade import trial
from faith.errors import FaithError

SESSIONS = [
    {
        "id": f"1-{number}",
        "client": f"[2001:db8:{number}::2]:1024",
        "mapped": "[64:ff9b::1]:80",
        "server": "0.0.0.1:80",
        "stage": "open",
        "seconds": float(number),
        "sent": 9 - number,
        "received": 7,
    }
    for number in (1, 2, 3)
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the requests that faithd got."""
    found: list[Any] = []

    def ask(path: Path | None, command: str, **words: Any) -> Any:
        found.append((path, command, words))
        return {"sessions": 4}

    monkeypatch.setattr(control_client, "ask", ask)
    monkeypatch.setattr(sessions, "read", lambda path: list(SESSIONS))
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert faith.main(words) == 0
    return capsys.readouterr().out


def test_a_session_is_killed(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "kill", "1-7") == "1-7 has been reset\n"
    assert asked == [(None, "kill", {"session": "1-7"})]


@pytest.mark.parametrize(("words", "forever"), [((), False), (("--forever",), True)])
def test_a_drain_says_what_is_open(
    asked: list[Any], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], forever: bool
) -> None:
    out = printed(capsys, "drain", *words, "--control", "/run/x")
    assert out == "no more connections are accepted; open sessions: 4\n"
    assert asked == [(Path("/run/x"), "drain", {"forever": forever, "lame_duck": None})]


def test_a_drain_has_a_lame_duck_and_is_taken_back(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "drain", "--lame-duck", "7.5")
    assert printed(capsys, "undrain") == "connections are accepted again\n"
    assert asked == [
        (None, "drain", {"forever": False, "lame_duck": 7.5}),
        (None, "undrain", {}),
    ]


@pytest.mark.usefixtures("asked")
def test_a_lame_duck_has_no_negative_time() -> None:
    assert faith.main(["drain", "--lame-duck", "-1"]) == 2


def test_a_reload_has_the_time_of_an_upgrade(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is in force" in printed(capsys, "reload")
    ((_, command, words),) = asked
    assert command == "reload"
    assert words["patience"] >= 2 * trial.PATIENCE > control_client.PATIENCE


@pytest.mark.usefixtures("asked")
class TestSessions:
    def ids(self, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
        lines = printed(capsys, "sessions", *words).splitlines()[1:]
        return [line.split()[0] for line in lines]

    def test_the_longest_come_first_unless_it_is_said(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.ids(capsys) == ["1-3", "1-2", "1-1"]
        assert self.ids(capsys, "--sort", "sent") == ["1-1", "1-2", "1-3"]

    def test_those_of_some_clients(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.ids(capsys, "--client", "2001:db8:2::/48") == ["1-2"]

    def test_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert json.loads(printed(capsys, "sessions", "--sort", "id", "--json")) == SESSIONS


def test_what_could_not_be_done_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise FaithError("there is no session 1-7")

    monkeypatch.setattr(control_client, "ask", refuse)
    assert faith.main(["kill", "1-7"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "there is no session 1-7" in told.err
