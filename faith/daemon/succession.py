"""One program after another in the same process: what each leaves, and when the next one begins."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.log import NOTICE
from faith.daemon.upgrade import Upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from faith.daemon.legacy import Legacy, Values
    from faith.daemon.loop import Loop

log = logging.getLogger("faith.supervisor")


class Heritable(Protocol):
    """Something that the next program goes on with."""

    def state(self) -> Any:
        """What it goes on from, fit for JSON."""

    def descriptors(self) -> Iterable[int]:
        """Those that are in the state."""


class Succession:
    """The upgrades of a daemon.

    *legacy* is what the program before this one has left, and *things* gives what this one leaves,
    by the names under which the next one finds it.
    """

    def __init__(
        self, loop: Loop, legacy: Legacy | None, things: Callable[[], Mapping[str, Heritable]]
    ) -> None:
        self._upgrade = Upgrade(loop, self._left)
        self._things = things
        self._again = False
        self._is_next = legacy is not None
        self.programs: int = legacy["programs"] if legacy else 1
        """How many have served, this one included."""
        self.started: float = legacy["started"] if legacy else time.time()
        """When the first one began, in Unix time."""

    @property
    def failures(self) -> int:
        """How many have come to nothing since this program began."""
        return self._upgrade.failures

    def serve(self) -> None:
        """This program serves."""
        self.programs += self._is_next

    def begin(self, *, later: bool = False) -> None:
        """Have the program that is on disk now take over, or *later*, when `handed_over`."""
        if later:
            self._again = True
        else:
            self._upgrade.begin()

    def handed_over(self) -> None:
        """This program has all that the one before it had."""
        log.log(NOTICE, "upgraded to program %d: all is handed over", self.programs)
        if self._again:
            self._again = False
            self._upgrade.begin()

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a process that ended; False when it was no program on trial."""
        return self._upgrade.reaped(pid, status)

    def close(self) -> None:
        """Try no other program any more."""
        self._upgrade.close()

    def _left(self) -> tuple[Values, list[int]]:
        things = self._things()
        values = {name: thing.state() for name, thing in things.items()}
        descriptors = [fd for thing in things.values() for fd in thing.descriptors()]
        return {"programs": self.programs, "started": self.started, **values}, descriptors
