"""One program after another in the same process: what each leaves, and when the next one begins."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.observe.log import NOTICE
from faith.daemon.upgrade.pending_requests import Waiting
from faith.daemon.upgrade.trial import Upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from faith.daemon.process.control_socket import Request
    from faith.daemon.process.loop import Loop
    from faith.daemon.upgrade.inherited_state import Legacy, Values
    from faith.errors import FaithError

    Failed = Callable[[FaithError], None]

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
        self._upgrade = Upgrade(loop, self._left, self._stay)
        self._things = things
        self._waiting = Waiting(legacy["waiting"] if legacy and not legacy.on_trial else ())
        self._failed: list[Failed] = []
        self._later: list[Callable[[], None]] = []
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

    def begin(
        self, request: Request | None = None, failed: Failed | None = None, *, later: bool = False
    ) -> None:
        """Have the program that is on disk now take over, or *later*, when `handed_over`.

        *request* is answered when it has, or told why it has not; *failed* is called for the
        latter.
        """
        if later:
            self._later.append(partial(self.begin, request, failed))
            return
        if request:
            self._waiting.add(request)
        if failed:
            self._failed.append(failed)
        self._upgrade.begin()

    def handed_over(self, kept: int = 0) -> None:
        """This program has all that the one before it had, but for sessions that were *kept*."""
        what = f"{kept} sessions end in old workers" if kept else "all is handed over"
        log.log(NOTICE, "upgraded to program %d: %s", self.programs, what)
        self._waiting.answer(programs=self.programs, kept=kept)
        later, self._later = self._later, []
        for begin in later:
            begin()

    def forsake(self) -> None:
        """Let go of who waits, in a process that was forked for something else."""
        self._waiting.forsake()

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a process that ended; False when it was no program on trial."""
        return self._upgrade.reaped(pid, status)

    def close(self) -> None:
        """Try no other program any more."""
        self._upgrade.close()
        self._waiting.answer(error="it is being stopped")

    def _stay(self, error: FaithError) -> None:
        self._waiting.answer(error=f"not upgraded: {error}")
        failed, self._failed = self._failed, []
        for told in failed:
            told(error)

    def _left(self) -> tuple[Values, list[int]]:
        things = {"waiting": self._waiting, **self._things()}
        values = {name: thing.state() for name, thing in things.items()}
        descriptors = [fd for thing in things.values() for fd in thing.descriptors()]
        return {"programs": self.programs, "started": self.started, **values}, descriptors
