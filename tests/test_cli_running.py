"""The commands to a running faithd: their requests and their output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faith.cli import control_client, faith
from faith.daemon.upgrade import trial
from faith.errors import FaithError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the requests that faithd got."""
    found: list[Any] = []

    def ask(path: Path | None, command: str, **words: Any) -> Any:
        found.append((path, command, words))
        return {"sessions": 4}

    monkeypatch.setattr(control_client, "ask", ask)
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert faith.main(words) == 0
    return capsys.readouterr().out


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


def test_what_could_not_be_done_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*words: object, **more: object) -> None:
        raise FaithError("it is being stopped already")

    monkeypatch.setattr(control_client, "ask", refuse)
    assert faith.main(["drain"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "it is being stopped already" in told.err
