from __future__ import annotations

from typing import Any

import pytest

from faith.cli import sessions
from faith.errors import ConfigError


def session(name: str, client: str, sent: int) -> dict[str, Any]:
    fields = {"mapped": "[64:ff9b::1]:80", "server": "0.0.0.1:80", "stage": "open", "seconds": 1.5}
    return {"id": name, "client": client, "sent": sent, "received": 7, **fields}


SESSIONS = [
    session("1-1", "[2001:db8:6::2]:1024", 3),
    session("2-1f3", "[fe80::1%eth0]:99", 40_000),
    session("1-2", "[2001:db8:7::2]:1", 5),
]


def names(found: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in found]


def test_in_order() -> None:
    assert names(sessions.order(SESSIONS, "sent")) == ["2-1f3", "1-2", "1-1"]
    assert names(sessions.order(SESSIONS, "id")) == ["1-1", "1-2", "2-1f3"]
    with pytest.raises(ConfigError, match="'age' is not one of id, client"):
        sessions.order(SESSIONS, "age")


def test_of_some_clients() -> None:
    assert names(sessions.of_client(SESSIONS, "2001:db8:6::/64")) == ["1-1"]
    assert names(sessions.of_client(SESSIONS, "fe80::/10")) == ["2-1f3"]
    assert sessions.of_client(SESSIONS, "192.0.2.0/24") == []
    with pytest.raises(ConfigError, match="2001:db8:6::/x"):
        sessions.of_client(SESSIONS, "2001:db8:6::/x")


def test_as_a_table() -> None:
    shown = [line.split() for line in sessions.lines(SESSIONS[:2])]
    assert shown[0] == list(sessions.KEYS)
    assert shown[2][0] == "2-1f3"
    first, second = list(sessions.lines(SESSIONS[:2]))[1:]
    assert len(first) == len(second)
    assert list(sessions.lines([])) == ["  ".join(sessions.KEYS)]
