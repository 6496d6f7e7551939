"""``faith sessions`` and ``faith kill``: their requests, their questions and their output."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from faith.cli import control_client, faith, sessions
from faith.cli.sessions import Session
from faith.errors import FaithError

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS = [
    Session(
        f"1-{number}",
        f"[2001:db8:{number}::2]:1024",
        "[64:ff9b::1]:80",
        "0.0.0.1:80",
        "192.0.2.1:4242",
        "open",
        float(number),
        9 - number,
        7,
    )
    for number in (1, 2, 3)
]
SELECTED: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--client", "2001:db8::/32"), {"client": "2001:db8::/32"}),
    (("--server", "192.0.2.0/24", "--port", "443"), {"server": "192.0.2.0/24", "port": 443}),
    (("--source", "198.51.100.7"), {"source": "198.51.100.7"}),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what was read and killed."""
    found: list[Any] = []

    def ask(path: Path | None, command: str, **words: Any) -> Any:
        found.append((command, words))
        if words.get("session") == "9-9":
            raise FaithError("there is no such session")
        return {"ended": 2}

    def read(path: Path | None, **wanted: Any) -> list[Session]:
        found.append(("sessions", wanted))
        return list(SESSIONS)

    monkeypatch.setattr(control_client, "ask", ask)
    monkeypatch.setattr(sessions, "read", read)
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert faith.main(words) == 0
    return capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ids(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    lines = printed(capsys, "sessions", *words).splitlines()[1:]
    return [line.split()[0] for line in lines]


@pytest.mark.usefixtures("asked")
def test_the_longest_come_first_unless_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(capsys, "--sort", "seconds") == ["1-3", "1-2", "1-1"]
    assert ids(capsys, "--sort", "sent") == ["1-1", "1-2", "1-3"]


@pytest.mark.usefixtures("asked")
def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "sessions", "--sort", "id", "--json"))
    assert found == [msgspec.to_builtins(one) for one in SESSIONS]


@pytest.mark.parametrize(("words", "wanted"), SELECTED)
def test_some_are_listed_and_some_are_killed(
    asked: list[Any],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    wanted: dict[str, Any],
) -> None:
    assert "192.0.2.1:4242" in printed(capsys, "sessions", *words)
    assert printed(capsys, "kill", "--yes", *words) == "2 sessions have been reset\n"
    assert asked == [("sessions", wanted), ("sessions", wanted), ("kill", wanted)]


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_terminal_is_asked(
    asked: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    status: int,
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert faith.main(["kill", "--port", "80"]) == status
    told = capsys.readouterr().out
    assert "Reset 3 sessions?" in told
    assert ("no session has been reset" in told) == bool(status)
    assert [command for command, _ in asked] == ["sessions", "kill"][: 2 - status]


def test_nobody_confirms_in_a_pipe(
    asked: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert faith.main(["kill", "--port", "80"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert [command for command, _ in asked] == ["sessions"]


def test_by_their_ids_each_is_named(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "kill", "1-7") == "1-7 has been reset\n"
    assert faith.main(["kill", "9-9", "1-8"]) == 1
    told = capsys.readouterr()
    assert told.out == "1-8 has been reset\n"
    assert "9-9: there is no such session" in told.err
    assert [words["session"] for _, words in asked] == ["1-7", "9-9", "1-8"]


@pytest.mark.parametrize("words", [(), ("1-1", "--port", "80"), ("--port", "99999")])
def test_it_must_be_said_which(asked: list[Any], words: tuple[str, ...]) -> None:
    assert faith.main(["kill", "--yes", *words]) == 2
    assert not asked


def test_none_is_asked_about(
    asked: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "read", lambda path, **wanted: [])
    assert printed(capsys, "kill", "--client", "::/0") == "0 sessions have been reset\n"
    assert not asked
