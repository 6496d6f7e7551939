"""Children that have ended: reaped, and reported to whoever had forked them."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from faith.daemon.process.fork import how_it_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger("faith.supervisor")


def reap(reaped: Iterable[Callable[[int, int], bool]]) -> None:
    """Reap all that have ended, orphans included: we may be PID 1.

    Each of *reaped* is called with the process and the status of waitpid(2), until one returns
    true because the process was one of its own.
    """
    known = tuple(reaped)
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if not any(one(pid, status) for one in known) and status:
            log.warning("child %d %s", pid, how_it_ended(status))
