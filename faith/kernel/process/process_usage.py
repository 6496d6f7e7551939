"""The usage of this process: processor time, memory, descriptors."""

from __future__ import annotations

import os
import resource
import time
from typing import NamedTuple

_STATM, _OPEN = "/proc/self/statm", "/proc/self/fd"
_PART = 1000
"""Of this process's time, at most one part in so many goes into counting descriptors one by one."""


class Usage(NamedTuple):
    """The *cpu* seconds used, the resident *memory* in octets, the open *descriptors*.

    *most_descriptors* is the soft limit of the latter.  0 stands for what cannot be found out.
    """

    cpu: float
    memory: int
    descriptors: int
    most_descriptors: int


class OwnUsage:
    """The usage of this process, looked up in microseconds.

    Linux counts descriptors itself since 6.2.  Before, they are listed, which takes the longer the
    more there are; so that is done the less often.
    """

    def __init__(self) -> None:
        self._counted = 0
        self._next = 0.0

    def look(self, now: float) -> Usage:
        """Return the usage at the time *now*, in seconds of the monotonic clock."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return Usage(time.process_time(), _resident(), self._descriptors(now), most)

    def _descriptors(self, now: float) -> int:
        try:
            if counted := os.stat(_OPEN).st_size:
                return counted
            if now >= self._next:
                begun = time.monotonic()
                self._counted = len(os.listdir(_OPEN)) - 1  # one is the listing's own
                self._next = now + _PART * (time.monotonic() - begun)
        except OSError:  # no /proc, or no descriptor left
            pass
        return self._counted


def _resident() -> int:
    try:
        descriptor = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 256).split()[1]) * resource.getpagesize()
    finally:
        os.close(descriptor)
