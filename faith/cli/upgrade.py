"""What ``faith upgrade`` does: every faithd becomes the program that is on disk now."""

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

    from faith.daemon.host.discovery import Running

INTERVAL = 0.1
"""Seconds between looks."""


def upgrade(pids: Collection[int] = ()) -> Iterator[str]:
    """Upgrade the faithds with these process numbers, or all; a line about each that has been.

    One at a time: the first that stays as it was is the last that is asked.  Raises FaithError.
    """
    found = {faithd.pid: faithd for faithd in discovery.running()}
    if unknown := sorted({*pids} - found.keys()):
        raise FaithError(f"no faithd is process {unknown[0]}")
    if not found:
        raise FaithError("no faithd is running here")
    for pid in pids or sorted(found):
        yield _upgrade(found[pid])


def _upgrade(faithd: Running) -> str:
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
        raise FaithError(f"{who} is the program that it was; its log tells why")
    return f"upgraded {who}"


def _ask(path: Path, who: str) -> str:
    """Have it done by the control socket, which tells why when it is not."""
    try:
        answer = control_client.ask(path, "upgrade", patience=3 * PATIENCE)
    except FaithError as error:
        raise FaithError(f"{who}: {error}") from None
    kept = answer.get("kept")
    rest = f"{kept} sessions end in old workers" if kept else "all is handed over"
    return f"upgraded {who}: program {answer['programs']}, {rest}"


def _after(before: Running) -> Running | None:
    """How it is when it has become another program or has failed to; None if neither happens."""
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
