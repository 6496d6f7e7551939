"""The directory of a daemon's sockets: the one by which it is found, and the control socket."""

from __future__ import annotations

import os
from pathlib import Path

USUAL = Path("/run/faith")
VARIABLES = ("FAITH_RUNTIME_DIRECTORY", "RUNTIME_DIRECTORY")
"""Environment variables that name another one; systemd sets the second (RuntimeDirectory=)."""


def chosen() -> Path:
    """Return the directory: of the first variable that is set the first path, or `USUAL`."""
    for name in VARIABLES:
        if path := os.environ.get(name, "").partition(":")[0]:
            return Path(os.path.abspath(path))
    return USUAL


DIRECTORY = chosen()
"""The directory of this process and of those that it forks."""
