from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from faith.cli import control_client, sessions
from faith.cli.sessions import Session
from faith.errors import ConfigError, FaithError


def session(name: str, client: str, sent: int) -> Session:
    mapped, server, source = "[64:ff9b::1]:80", "0.0.0.1:80", "198.51.100.1:999"
    return Session(name, client, mapped, server, source, "open", 1.5, sent, 7)


SESSIONS = [
    session("1-1", "[2001:db8:6::2]:1024", 3),
    session("2-1f3", "[fe80::1%eth0]:99", 40_000),
    session("1-2", "[2001:db8:7::2]:1", 5),
]


def names(found: list[Session]) -> list[str]:
    return [one.id for one in found]


def test_in_order() -> None:
    assert names(sessions.order(SESSIONS, "sent")) == ["2-1f3", "1-2", "1-1"]
    assert names(sessions.order(SESSIONS, "id")) == ["1-1", "1-2", "2-1f3"]
    with pytest.raises(ConfigError, match="'age' is not one of id, client"):
        sessions.order(SESSIONS, "age")


def test_those_without_a_source_come_first() -> None:
    without = session("1-1", "[2001:db8::1]:1", 0)
    without.source = None
    assert sessions.order([SESSIONS[0], without], "source") == [without, SESSIONS[0]]


def test_as_a_table() -> None:
    shown = [line.split() for line in sessions.lines(SESSIONS[:2])]
    assert shown[0] == list(sessions.KEYS[:-3])
    assert shown[2][0] == "2-1f3"
    first, second = list(sessions.lines(SESSIONS[:2]))[1:]
    assert len(first) == len(second)
    assert list(sessions.lines([])) == ["  ".join(sessions.KEYS[:-3])]


def test_a_client_that_has_no_server_yet() -> None:
    asking = session("1-3", "[2001:db8:6::2]:1024", 3)
    asking.server = asking.source = None
    asking.method = "proxy"
    head, line = list(sessions.lines([asking]))
    cells = dict(zip(head.split(), line.split(), strict=False))
    assert (cells["server"], cells["source"], cells["method"]) == ("-", "-", "proxy")


def test_what_was_asked_of_a_proxy_has_columns() -> None:
    asked = session("1-3", "[2001:db8:6::2]:1024", 3)
    asked.method, asked.asked, asked.user = "socks5", "www.example:443", "ann"
    head, first, second = list(sessions.lines([*SESSIONS[:1], asked]))
    assert head.split() == list(sessions.KEYS)
    assert first.split()[-1] == "7"
    assert second.split()[-3:] == ["socks5", "www.example:443", "ann"]
    asked.user = ""
    assert next(sessions.lines([asked])).split() == list(sessions.KEYS[:-1])
    assert names(sessions.order([asked, *SESSIONS], "asked"))[-1] == "1-3"


HONEST: dict[str, Any] = {
    "serial": 0x1F3,
    "client": "[2001:db8::1]:1",
    "mapped": "[64:ff9b::1]:80",
    "server": None,
    "source": None,
    "stage": "open",
    "seconds": 1.5,
    "sent": 3,
    "received": 4,
}


def read(monkeypatch: pytest.MonkeyPatch, *lines: str, **wanted: Any) -> list[Session]:
    answer = [({"worker": 2}, "".join(f"{line}\n" for line in lines))]
    monkeypatch.setattr(control_client, "gather", lambda path, command, **words: answer)
    return sessions.read(None, **wanted)


def test_it_is_read_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = read(monkeypatch, json.dumps(HONEST))
    assert found == Session("2-1f3", *(HONEST[key] for key in sessions.KEYS[1:-3]))


def test_what_was_asked_of_a_proxy_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"method": "connect", "asked": f"{'a' * 63}.example:443", "user": "ann"}
    (found,) = read(monkeypatch, json.dumps(HONEST | asked))
    assert (found.method, found.asked, found.user) == ("connect", asked["asked"], "ann")
    assert asked.items() <= json.loads(msgspec.json.encode(found)).items()
    (other,) = read(monkeypatch, json.dumps(HONEST))
    assert not {"asked", "user"} & json.loads(msgspec.json.encode(other)).keys()


def test_a_daemon_of_an_older_version_lists_all_and_no_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = {key: value for key, value in HONEST.items() if key != "source"}
    other = old | {"client": "[2001:db8:1::1]:1", "serial": 2}
    (found,) = read(monkeypatch, json.dumps(old), json.dumps(other), client="2001:db8:1::/48")
    assert (found.id, found.source) == ("2-2", None)
    assert not read(monkeypatch, json.dumps(old), source="192.0.2.0/24")
    assert not read(monkeypatch, json.dumps(old), server="192.0.2.0/24")


@pytest.mark.parametrize(
    "line",
    [
        json.dumps(HONEST | {"client": "\x1b]0;owned\x07"}),
        json.dumps(HONEST | {"stage": "open\nroot"}),
        json.dumps(HONEST | {"server": "x" * 1001}),
        json.dumps(HONEST | {"source": "\x1b[2J"}),
        json.dumps(HONEST | {"method": "\x1b[2J"}),
        json.dumps(HONEST | {"asked": "\x1b[2J"}),
        json.dumps(HONEST | {"asked": "x" * 2000}),
        json.dumps(HONEST | {"user": "\x1b[2J"}),
        json.dumps(HONEST | {"sent": "\x1b[2J"}),
        json.dumps(HONEST | {"sent": 10**400}),
        json.dumps(HONEST | {"received": -1}),
        json.dumps(HONEST | {"seconds": 1e300}),
        json.dumps(HONEST | {"serial": "\x1b[2J"}),
        json.dumps({"client": "nobody"}),
        json.dumps(HONEST | {"client": "nobody"}),
        "[]",
        "[" * 100_000,
        "nonsense",
    ],
)
def test_a_worker_that_was_taken_over_writes_nothing_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    with pytest.raises(FaithError, match=r"^worker 2 sends no valid list of its sessions$"):
        read(monkeypatch, json.dumps(HONEST), line)
