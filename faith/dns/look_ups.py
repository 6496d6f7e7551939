"""Questions that the servers were asked, each once at a time, and what waits for the answers.

There is no task and no future for a question: it is in a table until its answer is called back.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from faith.dns.dns_counters import Counters
from faith.dns.stale import AS_IT_CAME
from faith.dns.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.answer import Answer
    from faith.dns.cache import Cache
    from faith.dns.dns_timers import Timers
    from faith.dns.question import Question
    from faith.dns.race import Cancellable

    Take = Callable[[Answer], object]

_BITS = [bytes([bits]) for bits in range(4)]
"""The possible ends of a question's key."""


class Servers(Protocol):
    """The servers to ask: Upstreams, or a table in a test."""

    def ask(self, question: Question, done: Take) -> Cancellable:
        """Ask; *done* gets the answer, SERVFAIL if there is none, maybe before this returns."""

    def comes_back(self, host: str, port: int) -> bool:
        """Return whether a query from there, for what is being asked, is one of our own."""


class Waiter(Protocol):
    """Something that waits for answers, until it is over."""

    is_over: bool

    def garbled(self, error: WireError) -> None:
        """Conclude without an answer: what a server said makes no sense."""


class LookUps:
    """The table of what *servers* are being asked, before which *cache* is; *counters* count."""

    def __init__(
        self, cache: Cache, servers: Servers, timers: Timers, counters: Counters | None = None
    ) -> None:
        self.timers = timers
        self.counters = counters or Counters()
        self._cache = cache
        self._servers = servers
        self._asked: dict[bytes, LookUp] = {}

    def is_asked(self, question: Question) -> bool:
        """Return whether *question* is being looked up, with whatever DO and CD bits."""
        asked, stem = self._asked, question.key[:-1]
        return any(stem + bits in asked for bits in _BITS)

    def look_up(self, question: Question, waiter: Waiter, take: Take) -> LookUp | None:
        """Have *take* called, of *waiter*, with the answer as a server gave it, or will give it.

        None when that is done already.
        """
        now = time.monotonic()
        entry = self._cache.get(question, AS_IT_CAME, now)
        if entry:
            age = int(now - entry.since)
            take(entry.answer.aged(age) if age else entry.answer)
            return None
        found = self._asked.get(question.key)
        if found:
            found.waiting.append((waiter, take))
            return found
        found = self._asked[question.key] = LookUp(question)
        found.waiting.append((waiter, take))
        asking = self._servers.ask(question, partial(self._answered, found))
        if found.waiting:
            found.asking = asking
        return found

    def _answered(self, look_up: LookUp, answer: Answer) -> None:
        del self._asked[look_up.question.key]
        look_up.asking = None
        self._cache.put(look_up.question, AS_IT_CAME, answer, time.monotonic())
        waiting, look_up.waiting = look_up.waiting, []
        for waiter, take in waiting:
            if not waiter.is_over:
                try:
                    take(answer)
                except WireError as error:
                    waiter.garbled(error)
        answer.forget_records()

    def leave(self, look_up: LookUp, waiter: Waiter) -> None:
        """Have *waiter* not wait for *look_up* any more; what nobody waits for is given up."""
        if not look_up.waiting:
            return
        look_up.waiting = [other for other in look_up.waiting if other[0] is not waiter]
        if not look_up.waiting and look_up.asking:
            look_up.asking.cancel()
            look_up.asking = None
            del self._asked[look_up.question.key]


class LookUp:
    """A question that a server was asked, and what waits for the answer."""

    __slots__ = ("asking", "question", "waiting")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.waiting: list[tuple[Waiter, Take]] = []
        self.asking: Cancellable | None = None
