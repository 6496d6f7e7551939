"""One question to one server after the other, until one settles it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from faith.dns.answer import failure
from faith.dns.wire import NOERROR, NXDOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.dns.answer import Answer
    from faith.dns.dns_timers import Timer, Timers
    from faith.dns.question import Question

DEADLINE = 4.4
"""Seconds for a question in all: clients give up after five."""
PATIENCE = (0.6, 0.9, 1.2)
"""Seconds after each attempt until the next is made; replies to the former still count."""


class Cancellable(Protocol):
    """Something under way."""

    def cancel(self) -> object:
        """Stop it."""


class Runner(Protocol):
    """A server that takes part."""

    def ask(self, question: Question, done: Callable[[Answer | None], object]) -> Cancellable:
        """Ask; *done* gets the answer, or None when there is none that makes sense."""

    def missed(self, since: float) -> None:
        """Take note that a question has had no answer *since* it was asked, and time for one."""


class Race:
    """A question put to *upstreams*, for the best answer that can be had in DEADLINE seconds.

    Who is silent is asked again in turn, who has said something is not.  *done* gets the answer,
    maybe before `go_on` returns.
    """

    __slots__ = (
        "_asked",
        "_best",
        "_deadline",
        "_done",
        "_loop",
        "_silent",
        "_timer",
        "_timers",
        "question",
    )

    def __init__(
        self,
        question: Question,
        upstreams: Sequence[Runner],
        timers: Timers,
        done: Callable[[Answer], object],
    ) -> None:
        self.question = question
        self._silent = list(upstreams)
        self._timers = timers
        self._done: Callable[[Answer], object] | None = done
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + DEADLINE
        self._asked: list[Attempt] = []
        self._best: Answer | None = None
        self._timer: Timer | None = None

    def cancel(self) -> None:
        """Ask nobody any more, and call nobody."""
        self._done = None
        self._stop()
        for attempt in self._asked:
            attempt.cancel()

    def go_on(self) -> None:
        """Ask whose turn it is, or conclude when there is nobody, or no time."""
        now = self._loop.time()
        left = self._deadline - now
        self._stop()
        if left <= 0 or not self._ask(now):
            self._conclude()
            return
        if self._silent:
            left = min(left, PATIENCE[min(len(self._asked), len(PATIENCE)) - 1])
        self._timer = self._timers.after(left, self.go_on)

    def _ask(self, now: float) -> bool:
        """Ask the next server that can be asked; return whether there is any to wait for."""
        while self._silent:
            upstream = self._silent.pop(0)
            attempt = Attempt(self, upstream, now)
            self._asked.append(attempt)
            attempt.begin()
            if attempt.is_open:
                self._silent.append(upstream)
                return True
        return any(attempt.is_open for attempt in self._asked)

    def take(self, attempt: Attempt, answer: Answer | None) -> None:
        """Conclude by *answer*, or ask the next server."""
        if self._done is None:
            return
        if answer:
            self._best = answer
            if answer.rcode in (NOERROR, NXDOMAIN) or answer.bogus is True:
                self._conclude()
                return
        if attempt.is_under_way:
            if attempt.upstream in self._silent:
                self._silent.remove(attempt.upstream)
            self.go_on()

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _conclude(self) -> None:
        """Say what is best; go on listening to who may be slow, not dead."""
        self._stop()
        if done := self._done:
            self._done = None
            answer = self._best or failure(self.question)
            asked = self._asked
            if not asked:
                answer.lifetime = 0  # nobody was there to ask, and somebody may be any moment
            elif len(asked) == 1 and not asked[0].is_open:
                asked.clear()  # it would hold us, as we hold it
            else:
                self._leave()
            done(answer)

    def _leave(self) -> None:
        """Take note of who has had the time to answer; their answers are heard, but not used."""
        self._asked = late = [attempt for attempt in self._asked if attempt.is_open]
        if not late:
            return
        now = self._loop.time()
        since: dict[Runner, float] = {}
        for attempt in late:
            since.setdefault(attempt.upstream, attempt.since)
        for upstream, first in since.items():
            if now - first >= PATIENCE[0] / 2:
                upstream.missed(first)
        self._timers.after(DEADLINE, self.cancel)


class Attempt:
    """The question of *race* put to *upstream*, *since* a moment of the loop's time."""

    __slots__ = ("_asking", "_race", "is_open", "is_under_way", "since", "upstream")

    def __init__(self, race: Race, upstream: Runner, since: float) -> None:
        self._race = race
        self._asking: Cancellable | None = None
        self.upstream = upstream
        self.since = since
        self.is_open = True
        self.is_under_way = False

    def begin(self) -> None:
        """Ask; it may fail at once, and is not open any more then."""
        asking = self.upstream.ask(self._race.question, self._take)
        if self.is_open:
            self._asking = asking
            self.is_under_way = True

    def _take(self, answer: Answer | None) -> None:
        self.is_open = False
        self._asking = None
        self._race.take(self, answer)

    def cancel(self) -> None:
        """Do without the answer."""
        if self._asking:
            self._asking.cancel()
            self._asking = None
            self.is_open = False
