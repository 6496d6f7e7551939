"""Waiting for a condition."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


PATIENCE = float(os.environ.get("FAITH_PATIENCE", "1"))
"""A factor for all deadlines, where a machine is slow, as an emulated one is."""


def wait_until(predicate: Callable[[], object], seconds: float, what: str) -> None:
    """Return once *predicate* is true; raises TimeoutError naming *what* after *seconds*."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)
