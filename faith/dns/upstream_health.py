"""The health of a server: the probe that finds it out, and what the log has of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.dns.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.dns.dns_timers import Timers
    from faith.dns.question import Question
    from faith.dns.upstream_exchange import Asking, Exchange, Result

PROBE = 0.6
"""Seconds that a server has to answer what it should know."""
QUIET = 60.0
"""Seconds from a line in the log that a server fails to the next."""

log = logging.getLogger("faith.dns")


class Probe:
    """A few *questions* to a server, of which a sound one answers at least one in `PROBE` seconds.

    *done* is called once: with None for an answer, be it a refusal, or else with the last error.
    """

    def __init__(
        self,
        exchange: Exchange,
        questions: Sequence[Question],
        timers: Timers,
        done: Callable[[str | None], object],
    ) -> None:
        self._done: Callable[[str | None], object] | None = done
        self._left = len(questions)
        self._error = "no answer"
        self._asked: list[Asking] = []
        self._timer = timers.after(PROBE, self._end)
        for question in questions:
            asking = exchange.ask(question, self._heard)
            if self._done is None:
                asking.cancel()
                return
            self._asked.append(asking)

    def _heard(self, result: Result) -> None:
        self._left -= 1
        if isinstance(result, Answer):
            self._end(answered=True)
        else:
            self._error = getattr(result, "strerror", None) or str(result)
            if not self._left:
                self._end()

    def _end(self, *, answered: bool = False) -> None:
        if done := self._done:
            self._done = None
            self._timer.cancel()
            for asking in self._asked:
                asking.cancel()
            done(None if answered else self._error)


class LoggedHealth:
    """The health of a *server* as the log has it: few lines, however often it changes.

    A failure less than `QUIET` seconds after the last line about one is logged when they are over,
    if it still lasts; what was not logged is counted.
    """

    def __init__(self, server: str, timers: Timers) -> None:
        self.has_failed = False
        self._server = server
        self._timers = timers
        self._why = ""
        self._is_logged = False
        self._is_quiet = False
        self._unlogged = 0

    @property
    def error(self) -> str:
        """The reason why the server fails; "" if it answers."""
        return (self._why or "no answer") if self.has_failed else ""

    def fail(self, why: str) -> None:
        """Take note that the server fails, and *why*; a no-op when it is known."""
        if self.has_failed:
            return
        self.has_failed, self._why, self._is_logged = True, why, False
        if self._is_quiet:
            self._unlogged += 1
        else:
            self._log()

    def recover(self) -> None:
        """Take note that the server answers."""
        self.has_failed = False
        if self._is_logged:
            log.info("server %s answers again", self._server)

    def _log(self) -> None:
        again = f"; {self._unlogged} failures were not logged" if self._unlogged else ""
        log.warning("server %s fails: %s%s", self._server, self._why, again)
        self._is_logged, self._is_quiet, self._unlogged = True, True, 0
        self._timers.after(QUIET, self._speak)

    def _speak(self) -> None:
        self._is_quiet = False
        if self.has_failed and not self._is_logged:
            self._unlogged -= 1  # this one
            self._log()
