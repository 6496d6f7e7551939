"""Upgrades: one program after another in the same process, and the state that each passes on."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.observe.log import NOTICE
from faith.daemon.upgrade.pending_requests import PendingRequests
from faith.daemon.upgrade.trial import Upgrade
from faith.errors import FaithError
from faith.kernel.descriptor import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faith.daemon.observe.health import RelayHealth
    from faith.daemon.process.control_socket import Request
    from faith.daemon.process.loop import Loop
    from faith.daemon.upgrade.inherited_state import InheritedState, Values
    from faith.kernel.descriptor import Descriptor

    Failed = Callable[[FaithError], None]

log = logging.getLogger("faith.supervisor")


class Heritable(Protocol):
    """A thing that an upgrade passes on."""

    def state(self) -> Any:
        """Return its state, fit for JSON, with every descriptor in it as a `Descriptor`."""


class Upgrades:
    """The upgrades of a daemon.

    *inherited* is the state passed by the predecessor process, and *things* returns what this one
    passes on, by name.  *condition* counts upgrades.
    """

    def __init__(
        self,
        loop: Loop,
        inherited: InheritedState | None,
        things: Callable[[], Mapping[str, Heritable]],
        condition: RelayHealth,
    ) -> None:
        self._condition = condition
        self._upgrade = Upgrade(loop, self._left, self._stay)
        self._things = things
        self._waiting = PendingRequests.adopt(
            inherited["waiting"] if inherited and not inherited.on_trial else ()
        )
        self._failed: list[Failed] = []
        self._later = PendingRequests()
        self._begin_later: list[Failed | None] = []
        self._is_next = inherited is not None
        self.programs: int = inherited["programs"] if inherited else 1
        """How many programs have served, this one included."""
        self.started: float = inherited["started"] if inherited else time.time()
        """The Unix time at which the first program began."""

    @property
    def failures(self) -> int:
        """The number of failed upgrades since this program began."""
        return self._upgrade.failures

    def serve(self) -> None:
        """Record that this program serves."""
        self.programs += self._is_next

    def begin(
        self, request: Request | None = None, failed: Failed | None = None, *, later: bool = False
    ) -> None:
        """Start the upgrade to the program on disk now, or *later*, after `handed_over`.

        *request* is answered when it has ended, well or not; *failed* is called if it fails.
        """
        if request:  # now: a connection of the control socket does not wait for long
            (self._later if later else self._waiting).add(request)
        if later:
            self._begin_later.append(failed)
            return
        if failed:
            self._failed.append(failed)
        self._upgrade.begin()

    def handed_over(self, kept: int = 0) -> None:
        """Record that this program has taken over everything but *kept* sessions, and answer."""
        self._condition.upgraded(good=True)
        what = f"{kept} sessions end in old workers" if kept else "everything is handed over"
        log.log(NOTICE, "upgraded to program %d: %s", self.programs, what)
        self._waiting.answer(programs=self.programs, kept=kept)
        self._waiting, self._later = self._later, self._waiting
        later, self._begin_later = self._begin_later, []
        for failed in later:
            self.begin(failed=failed)

    def reaped(self, pid: int, status: int) -> bool:
        """Handle the end of a process; return False when it was not on trial."""
        return self._upgrade.reaped(pid, status)

    def close(self) -> None:
        """Cancel any trial, and refuse the pending requests; others may follow."""
        self._upgrade.close()
        for requests in (self._waiting, self._later):
            requests.answer(error="it is being stopped")
        self._failed += filter(None, self._begin_later)
        self._begin_later.clear()
        self._fail(FaithError("it is being stopped"))

    def _stay(self, error: FaithError) -> None:
        self._condition.upgraded(good=False)
        self._waiting.answer(error=f"not upgraded: {error}")
        self._fail(error)

    def _fail(self, error: FaithError) -> None:
        failed, self._failed = self._failed, []
        for told in failed:
            told(error)

    def _left(self) -> tuple[Values, list[Descriptor]]:
        things = {"waiting": self._waiting, **self._things()}
        values = {name: thing.state() for name, thing in things.items()}
        return {"programs": self.programs, "started": self.started, **values}, descriptors(values)
