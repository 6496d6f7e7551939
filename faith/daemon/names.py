"""Who of a daemon answers for names; when that is to be done otherwise, others take their place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from faith.daemon.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.crew import Crew
    from faith.daemon.loop import Loop
    from faith.daemon.settings import Settings
    from faith.dns.counters import Counters
    from faith.errors import SetupError


class Names:
    """Processes that answer by the settings they were started with, if by any.

    *leave* is called in each of them, to let go of what is the supervisor's, and *counters* gives
    each its own by its number.
    """

    def __init__(
        self, loop: Loop, leave: Callable[[], object], counters: Callable[[int], Counters]
    ) -> None:
        self._counters = counters
        self._loop = loop
        self._leave = leave
        self._now: Answering | None = None
        self._next: Answering | None = None
        self._leaving: list[Answering] = []

    def start(self, settings: Settings, on_ready: Callable[[], None]) -> None:
        """Start them; *on_ready* is called when all serve, or when there is nothing to do.

        Raises SetupError, from here or from the loop.
        """
        self._now = self._answering(settings)
        if self._now is None:
            on_ready()
        else:
            self._now.start(settings.dns_workers, on_ready)

    def prepare(
        self,
        settings: Settings,
        on_ready: Callable[[], None],
        on_failure: Callable[[SetupError], None],
    ) -> None:
        """Start others beside them, and call one of the two; then :meth:`take` or :meth:`drop`.

        Raises SetupError.
        """
        self._next = self._answering(settings)
        if self._next is None:
            on_ready()
        else:
            self._next.crew.on_failure = on_failure
            self._next.start(settings.dns_workers, on_ready)

    def take(self) -> None:
        """Have the others in their place, from now on."""
        if self._now:
            self._now.stop()
            self._leaving.append(self._now)
        self._now, self._next = self._next, None

    def drop(self) -> None:
        """Have them as before; the others end."""
        if self._next:
            self._next.stop()
            self._leaving.append(self._next)
            self._next = None

    def stop(self) -> None:
        """Answer no more."""
        self.drop()
        if self._now:
            self._now.stop()

    def kill(self) -> None:
        """End them all at once."""
        for crew in self.crews():
            crew.kill()

    def forsake(self) -> None:
        """Let go of them, in a process that was forked for something else."""
        for crew in self.crews():
            crew.forsake()

    def crews(self) -> Iterator[Crew]:
        """All of them that may still have processes."""
        self._leaving = [one for one in self._leaving if one.crew.pids]
        for answering in (self._now, self._next, *self._leaving):
            if answering:
                yield answering.crew

    def _answering(self, settings: Settings) -> Answering | None:
        if settings.dns is None:
            return None
        names = replace(settings.dns, shared=True)
        return Answering(self._loop, names, settings.user, self._leave, self._counters)
