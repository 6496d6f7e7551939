"""Places that log lines are written to, and the lines that wait for them.

A sink never waits.  What its receiver has no room for is kept in order, within a bound, and written
as soon as there is room again; what is beyond the bound is the caller's to count.
"""

from __future__ import annotations

import os
import select
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from faith.daemon.observe.log_counters import WAITING, own_cells

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    from faith.kernel.shared.families import Cells

    Fields = Mapping[str, str | int | float]
    Later = Callable[[float, Callable[[], object]], object]
    """Has a function called after some seconds."""

MOST = 16 << 20
"""Octets of lines that may wait in a process: 50,000 records as text, 20,000 in the journal."""
AGAIN = 0.1
"""Seconds until the next attempt to write."""

_LOOK = 0.05  # seconds for which the end of a process waits at a time


class Sink:
    """An output for messages, and the lines that wait for it.

    A *structured* sink keeps fields by name.  *bare* says that messages contain their time and
    program.  *cells* of `log_counters.LAYOUT` have the number of lines that wait.
    """

    structured = False
    bare = False

    def __init__(self, most: int = MOST) -> None:
        self.cells: Cells = own_cells()
        self.has_room: Callable[[], object] = lambda: None
        """Called when nothing waits any more."""
        self._most = most
        self._loop: AbstractEventLoop | None = None
        self._later: Later | None = None
        self._is_blocked = False  # the last attempt failed for want of room
        self._is_scheduled = False  # another attempt
        self._is_watched = False  # the descriptor, until it is writable

    # -- what each kind does -----------------------------------------------------------------

    def write(self, priority: int, text: str, fields: Fields, event: str = "") -> int:
        """Write or keep one message of a syslog *priority*; return how many lines were dropped.

        *event* is a key of `MESSAGE_IDS`, or empty.
        """
        raise NotImplementedError

    def label(self, labels: Mapping[str, str]) -> None:
        """Have a structured sink put *labels* into every entry from now on."""

    def fileno(self) -> int:
        """Return the descriptor that the lines are written to."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the sink's own descriptor."""
        raise NotImplementedError

    def _write_some(self) -> bool:
        """Write what waits, as far as it goes now; return whether anything was written."""
        raise NotImplementedError

    def _left(self) -> int:
        """Return the number of lines that wait."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop the lines that wait."""
        raise NotImplementedError

    def _can_be_watched(self) -> bool:
        """Return whether the loop can tell when the descriptor is writable."""
        raise NotImplementedError

    # -- common ------------------------------------------------------------------------------

    def batch(self, loop: AbstractEventLoop) -> None:
        """Belong to *loop* from now on, which says when there is room again."""
        self._loop, self._later = loop, loop.call_later
        self._is_scheduled = False
        if self.cells[WAITING]:
            self.flush()

    def retry_by(self, later: Later) -> None:
        """Have *later* call for every attempt to write, in a process without such a loop."""
        self._later = later

    def call_later(self, seconds: float, action: Callable[[], object]) -> bool:
        """Call *action* later; return False in a process without a timer."""
        if self._later is None or (self._loop and self._loop.is_closed()):
            return False
        self._later(seconds, action)
        return True

    def flush(self) -> bool:
        """Write what waits, as far as it goes now; return whether anything was written."""
        written = self._write_some()
        left = self.cells[WAITING] = self._left()
        if left:
            self._try_again()
        else:
            self._watch(wanted=False)
            if written:
                self.has_room()
        return written

    def finish(self, seconds: float) -> int:
        """Write what waits, for at most so many *seconds*, and drop the rest; return its lines."""
        end = time.monotonic() + seconds
        writable = select.poll()
        writable.register(self.fileno(), select.POLLOUT)
        written = self.flush()
        while self.cells[WAITING] and time.monotonic() < end:
            if not written:
                time.sleep(_LOOK / 5)  # a file is always writable, even if its disk is full
            writable.poll(_LOOK * 1000)
            written = self.flush()
        left: int = self.cells[WAITING]
        self._forget()
        self.cells[WAITING] = 0
        self._watch(wanted=False)
        return left

    def begin_anew(self) -> None:
        """In a forked process: the lines that wait are the parent's, and so are loop and cells."""
        self._loop = self._later = None
        self._is_scheduled = self._is_watched = False
        self.cells = own_cells()
        self._forget()

    def _try_again(self) -> None:
        self._watch(wanted=self._can_be_watched())
        if not self._is_scheduled:
            self._is_scheduled = self.call_later(AGAIN, self._attempt)

    def _attempt(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _watch(self, *, wanted: bool) -> None:
        if self._loop is None or self._loop.is_closed() or wanted == self._is_watched:
            return
        self._is_watched = wanted
        if wanted:
            self._loop.add_writer(self.fileno(), self.flush)
        else:
            self._loop.remove_writer(self.fileno())


def encoded(text: str) -> bytes:
    """Encode *text*; octets of a name that is not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace")


@lru_cache(maxsize=1)
def own_pid() -> int:
    """Return the process number, without a system call for every line."""
    return os.getpid()


os.register_at_fork(after_in_child=own_pid.cache_clear)


@lru_cache(maxsize=8)
def stamp(form: str, second: int, utc: bool = False) -> str:
    """Return the time *second*, in Unix time, by a *form* of strftime(3)."""
    return time.strftime(form, time.gmtime(second) if utc else time.localtime(second))
