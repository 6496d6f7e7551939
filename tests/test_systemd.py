from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.systemd import ending, notify, reloading, watchdog_interval

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, abstract: bool) -> None:
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0"))
        notify("READY=1")
        assert sock.recv(100) == b"READY=1"
    notify("READY=1")  # nobody there any more: no error


def test_nobody_is_told_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_reload_has_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        before = time.monotonic_ns() // 1000
        reloading()
        first, second = sock.recv(100).decode().splitlines()
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_an_end_that_takes_long_asks_for_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        ending(1.5, "draining, 2 sessions")
        said = sock.recv(100).decode().splitlines()
    assert said == ["EXTEND_TIMEOUT_USEC=1500000", "STATUS=draining, 2 sessions"]


@pytest.mark.parametrize(
    ("limit", "whose", "seconds"),
    [
        (None, None, 0.0),
        ("3000000", None, 1.5),
        ("3000000", "ours", 1.5),
        ("3000000", "1", 0.0),
        ("soon", None, 0.0),
    ],
)
def test_the_watchdog_wants_a_sign_in_half_its_time(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, whose: str | None, seconds: float
) -> None:
    for name, value in (("WATCHDOG_USEC", limit), ("WATCHDOG_PID", whose)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "ours" else value)
    assert watchdog_interval() == seconds
