"""``faith upgrade``: replaces the program of every running faithd by the one on disk."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from faith.cli import control_client
from faith.daemon.host import discovery
from faith.daemon.upgrade.trial import PATIENCE
from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from faith.daemon.observe.status_report import Daemon

INTERVAL = 0.1
"""Seconds between checks."""


def upgrade(pids: Collection[int] = (), *, if_running: bool = False) -> Iterator[str]:
    """Upgrade the faithds with these process numbers, or all; return a line about each.

    They are upgraded one at a time, until one fails.  Raises FaithError, also where there is none,
    unless only those shall be upgraded *if_running*.
    """
    found = {faithd.pid: faithd for faithd in discovery.running()}
    if unknown := sorted({*pids} - found.keys()):
        raise FaithError(f"process {unknown[0]} is not a faithd; faith status shows those that run")
    if not found and not if_running:
        raise FaithError("no faithd is running here")
    for pid in pids or sorted(found):
        yield _upgrade(found[pid])


def _upgrade(faithd: Daemon) -> str:
    who = f"faithd {faithd.service} (pid {faithd.pid})"
    if faithd.control:
        return _ask(Path(faithd.control), who)
    try:
        os.kill(faithd.pid, signal.SIGUSR2)
        after = _after(faithd)
    except ProcessLookupError:
        raise FaithError(f"{who} has ended") from None
    except PermissionError:
        raise FaithError(f"{who} is another user's") from None
    if after is None or after.programs == faithd.programs:
        raise FaithError(f"{who} was not upgraded; see its log")
    return f"upgraded {who}"


def _ask(path: Path, who: str) -> str:
    """Upgrade by the control socket, which reports why it failed."""
    try:
        answer = control_client.ask(path, "upgrade", patience=3 * PATIENCE)
    except FaithError as error:
        raise FaithError(f"{who}: {error}") from None
    kept = answer.get("kept")
    rest = f"{kept} sessions end in old workers" if kept else "everything is handed over"
    return f"upgraded {who}: program {answer['programs']}, {rest}"


def _after(before: Daemon) -> Daemon | None:
    """Return the state after an upgrade or its failure; None if neither happens in time."""
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        os.kill(before.pid, 0)
        for now in discovery.running():
            if now.pid == before.pid and (now.programs, now.failed) != (
                before.programs,
                before.failed,
            ):
                return now
        time.sleep(INTERVAL)
    return None
