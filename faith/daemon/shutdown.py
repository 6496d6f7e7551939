"""The end of a daemon: a lame duck at first, then it drains, then all its processes end."""

from __future__ import annotations

import logging
import time
from enum import Enum
from typing import TYPE_CHECKING

from faith.daemon.config.readers import seconds as seconds_of
from faith.daemon.observe.log import NOTICE
from faith.daemon.process import systemd
from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from faith.daemon.config.settings import Settings
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.control_socket import Request
    from faith.daemon.process.loop import Loop
    from faith.daemon.services.interface import Service
    from faith.daemon.services.kernel_path import KernelPath
    from faith.daemon.services.relaying import Relaying
    from faith.daemon.upgrade.upgrades import Upgrades

log = logging.getLogger("faith.supervisor")

GRACE = 2.0
"""Seconds that processes have to end once they were told to."""
REPORT = 5.0
"""Seconds between two reports to systemd."""
EXTENSION = 30.0
"""Seconds for which each of them keeps systemd from killing the daemon."""
_LOOK = 0.01
_LOOK_AT_FLOWS = 0.1


class Phase(Enum):
    """How far the end has come; the value is for `faith status` and systemd."""

    SERVING = "serving"
    LAME_DUCK = "lame duck"
    """New connections are served, and /readyz asks for them to go elsewhere."""
    DRAINING = "draining"
    """Sessions go on, names, UDP and pings are served, new connections are refused."""
    ENDING = "ending"


class Shutdown:
    """Ends what a daemon does, step by step; the *loop* is stopped at last."""

    def __init__(
        self,
        loop: Loop,
        relaying: Relaying,
        kernel_path: KernelPath,
        services: Collection[Service],
        upgrades: Upgrades,
        metric_areas: MetricAreas,
    ) -> None:
        self._loop = loop
        self._relaying = relaying
        self._kernel_path = kernel_path
        self._services = services
        self._upgrades = upgrades
        self._metric_areas = metric_areas
        self._condition = metric_areas.condition
        self._seconds: float | None = None
        self._for_good = False
        self._waits = True  # for sessions and flows to end by themselves
        self._next: Callable[[], None] = _nothing
        self._reports: Callable[[], None] = _nothing
        self.phase = Phase.SERVING

    @property
    def has_begun(self) -> bool:
        """Return whether the daemon is to end, soon or later."""
        return self.phase is not Phase.SERVING

    @property
    def drains(self) -> bool:
        """Return whether new connections are refused."""
        return self.phase in (Phase.DRAINING, Phase.ENDING)

    def status(self) -> str:
        """Return what the daemon does, in a few words."""
        sessions = self._metric_areas.open_sessions()
        return f"{self.phase.value}, {sessions} session{'s' * (sessions != 1)}"

    @property
    def is_lame_duck(self) -> bool:
        """Return whether it drains soon, and accepts connections until then."""
        return self.phase is Phase.LAME_DUCK

    def begin(self, seconds: float | None, lame_duck: float = 0.0, *, for_good: bool) -> None:
        """Be a *lame_duck* for so many seconds, then drain: end with the last session.

        Sessions that are left *seconds* after that are reset; with None they are waited for.
        `take_back` is possible until it ends, unless it is *for_good*.
        """
        self._seconds, self._for_good = seconds, for_good
        self._upgrades.close()
        if for_good:
            systemd.notify("STOPPING=1")
        if lame_duck:
            self.phase = Phase.LAME_DUCK
            self._condition.lame_duck(on=True)
            log.log(NOTICE, "a lame duck for %g s: connections are accepted till then", lame_duck)
            self._next = self._loop.later(lame_duck, self._drain)
        else:
            self._drain()
        self._report()

    def stop(self, seconds: float, lame_duck: float) -> None:
        """`begin` for good, or make it for good; asked again, reset the sessions that are left."""
        if self._for_good:
            self.hasten()
        elif not self.has_begun:
            self.begin(seconds, lame_duck, for_good=True)
        elif self.phase is not Phase.ENDING:
            self._seconds, self._for_good = seconds, True
            systemd.notify("STOPPING=1")
            if self.phase is Phase.LAME_DUCK:
                self._drain()
            else:
                self._limit()

    def _drain(self) -> None:
        self.phase = Phase.DRAINING
        self._condition.lame_duck(on=False)
        self._condition.drain()
        self._limit()
        self._kernel_path.drain()
        self._relaying.drain()

    def _limit(self) -> None:
        """Give the sessions their time, from now on."""
        self._next()
        seconds = self._seconds
        limit = "all the time they want" if seconds is None else f"{seconds:g} s"
        log.log(NOTICE, "stopping: sessions have %s to end", limit)
        self._next = _nothing if seconds is None else self._loop.later(seconds, self.hasten)

    def answer_drain(self, request: Request, settings: Settings) -> None:
        """Let the sessions end, in their own time or in that of *settings*."""
        if self.has_begun:
            request.fail("it is being stopped already")
            return
        limit = None if request.words.get("forever") else settings.drain_timeout
        asked = request.words.get("lame_duck")
        try:
            lame_duck = settings.lame_duck if asked is None else seconds_of(asked)
        except FaithError as error:
            request.fail(f"lame duck: {error}")
            return
        self.begin(limit, lame_duck, for_good=False)
        request.answer(sessions=self._metric_areas.open_sessions(), lame_duck=lame_duck)

    def take_back(self) -> None:
        """Serve as before.  Raises FaithError when it ends for good, or does not end at all."""
        if not self.has_begun:
            raise FaithError("it does not drain")
        if self._for_good or self.phase is Phase.ENDING:
            raise FaithError("it is being stopped, which cannot be taken back")
        if self.phase is Phase.DRAINING:
            self._relaying.resume()
            self._kernel_path.resume()
        self._next()
        self._reports()
        self._condition.lame_duck(on=False)
        self._condition.drain(drains=False)
        self.phase = Phase.SERVING
        log.log(NOTICE, "serving again: the drain was taken back")

    def hasten(self) -> None:
        """Reset the sessions that are left, and end."""
        if self.phase is Phase.LAME_DUCK:
            self._drain()
        self._next()
        self._for_good, self._waits = True, False
        self._relaying.stop()
        self._next = self._loop.later(GRACE, self.end)

    def relaying_has_ended(self) -> None:
        """End with the last flow of the kernel path: the last relayed session has ended."""
        if self.phase is not Phase.DRAINING:
            return
        if self._waits and self._kernel_path.has_open_flows:
            self._loop.later(_LOOK_AT_FLOWS, self.relaying_has_ended)
        else:
            self.end()

    def end(self) -> None:
        """Have all processes end, which record what is left; those that do not are killed."""
        if self.phase is Phase.ENDING:
            return
        self._next()
        self.phase = Phase.ENDING
        systemd.notify("STOPPING=1", f"STATUS={self.status()}")
        for service in self._services:
            service.stop()
        self._await_end(time.monotonic() + GRACE)

    def _await_end(self, deadline: float) -> None:
        pools = [pool for service in self._services for pool in service.pools()]
        if any(pool.pids for pool in pools) and time.monotonic() < deadline:
            self._loop.later(_LOOK, lambda: self._await_end(deadline))
        else:
            self._loop.stop()

    def _report(self) -> None:
        if self.phase is not Phase.ENDING:
            systemd.ending(EXTENSION, self.status())
            self._reports = self._loop.later(REPORT, self._report)


def _nothing() -> None:
    """Call off no timer."""
