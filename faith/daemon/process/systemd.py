"""Notifications to systemd (sd_notify(3)), if it asked for them; sending never blocks."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(*state: str) -> None:
    """Tell systemd each ``NAME=value``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.setblocking(False)
            sock.sendto("\n".join(state).encode(), address.replace("@", "\0", 1))


def reloading() -> None:
    """Tell it that the configuration is read again; READY=1 ends that."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def ending(seconds: float, status: str) -> None:
    """Tell it that it goes on for at least *seconds* before it ends, and its *status* in words.

    Sent again within that time, it keeps TimeoutStopSec= from killing what drains for longer.
    """
    notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", f"STATUS={status}")


def watchdog_interval() -> float:
    """Seconds between the signs of life it wants of this process (sd_watchdog_enabled(3)).

    They are half of what it would wait for one; 0 means that it wants none.
    """
    for_whom = os.environ.get("WATCHDOG_PID", "")
    if for_whom not in ("", str(os.getpid())):
        return 0.0
    limit = os.environ.get("WATCHDOG_USEC", "")
    return int(limit) / 2e6 if limit.isascii() and limit.isdigit() else 0.0
