"""Standard output that nobody reads, or that has no room: without another complaint at the end."""

from __future__ import annotations

import os
import sys


def discard() -> None:
    """Have what is not written yet go nowhere: the interpreter's last flush would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def finish() -> None:
    """Write what is left, unless nobody reads it.  Raises OSError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard()
