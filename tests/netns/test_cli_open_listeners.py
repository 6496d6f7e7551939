"""Servers of a host that listen on every address, with real listeners."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.cli import open_listeners as listeners
from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

OURS = f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"


@contextmanager
def listening(*ports: int, at: str = "::") -> Iterator[None]:
    with ExitStack() as stack:
        for port in ports:
            family = socket.AF_INET6 if ":" in at else socket.AF_INET
            stack.enter_context(socket.create_server((at, port), family=family))
        yield


def test_those_on_every_address_are_found_in_order() -> None:
    assert listeners.on_any_address() == []
    with listening(8080, 22), listening(8081, at="::1"), listening(8082, at="0.0.0.0"):
        assert listeners.on_any_address() == [22, 8080]


def test_who_does_not_listen_does_not_count() -> None:
    with (
        listening(8080, at="::1"),
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as bound,
        socket.create_connection(("::1", 8080), 5),
    ):
        bound.bind(("::", 8090))
        assert listeners.on_any_address() == []


def test_the_ports_of_faithds_are_meant_to_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    usual: dict[str, Any] = {"via": "listen", "started": 0.0, "prefixes": []}
    faithd = Daemon(1, "web", "80-90", sets_up=[], **usual)
    monkeypatch.setattr(discovery, "running", lambda: [faithd])
    with listening(80, 90, 91):
        assert listeners.on_any_address() == [91]


def test_who_listens_is_told_where_it_can_be_seen() -> None:
    with listening(22):
        assert listeners.named([22, 80]) == f"22 {OURS}, 80"
        assert listeners.exposed() == f"servers on [::] answer under the prefix too: 22 {OURS}"


def test_without_any_the_danger_to_come_is_told() -> None:
    assert "whatever does later answers under the prefix too" in listeners.exposed()
