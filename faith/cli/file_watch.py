"""``faith reload --watch``: a reload whenever the file has changed, as beside a ConfigMap."""

from __future__ import annotations

import signal
import sys
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from faith.cli import control_client
from faith.daemon.upgrade.trial import PATIENCE
from faith.errors import FaithError, SetupError

if TYPE_CHECKING:
    from pathlib import Path

PAUSE = 1.0
"""Seconds between two looks at the file.

It is read: who swaps a symbolic link, as a kubelet does, changes nothing about the file.
"""


def follow(file: Path, control: Path | None) -> None:
    """Have the faithd at *control* read its configuration again whenever *file* has other octets.

    What it refuses is told on standard error, and not asked again until the next change; a faithd
    that is not there is asked until it is.  Ends by a signal only.
    """
    signal.signal(signal.SIGTERM, lambda *about: sys.exit(0))  # the first process ignores it else
    applied = digest(file)
    _say(f"watching {file}")
    while True:
        time.sleep(PAUSE)
        now = digest(file)
        if now and now != applied and _reload(control):
            applied = now


def digest(file: Path) -> bytes:
    """Return a hash of the octets of *file*, b"" while it cannot be read."""
    try:
        return sha256(file.read_bytes()).digest()
    except OSError:
        return b""


def _reload(control: Path | None) -> bool:
    """Ask for a reload; return whether there is an answer, good or bad."""
    try:
        control_client.ask(control, "reload", patience=3 * PATIENCE)
    except SetupError as error:
        _say(f"{error}; it is tried again")
        return False
    except FaithError as error:
        _say(f"not reloaded: {error}")
    else:
        _say("the configuration has been read again")
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
