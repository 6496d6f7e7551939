"""The servers that know: several of them, of which one that does not answer is soon asked last."""

from __future__ import annotations

import asyncio
import errno
import logging
from itertools import chain, repeat
from typing import TYPE_CHECKING

from faith.dns.answer import failure
from faith.dns.dns_counters import Counters
from faith.dns.wire import NOERROR, NXDOMAIN, WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.dns.answer import Answer
    from faith.dns.question import Question
    from faith.dns.tasks import Tasks
    from faith.dns.upstream_exchange import Exchange

DEADLINE = 4.4
"""Seconds for a question in all: clients give up after five."""
PATIENCE = (0.6, 0.9, 1.2)
"""Seconds after each attempt until the next is made; replies to the former still count."""
TOLERANCE = 3
"""Failures in a row until a server is asked after all others."""
REST = 1.0
"""Seconds until it has another chance, doubled with every further failure."""
LONGEST_REST = 30.0

_OWN_FAULTS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What the server knows nothing of: we have run out of something."""

log = logging.getLogger("faith.dns")


class Upstream:
    """A server and its health; *now* is the loop's time."""

    def __init__(self, exchange: Exchange, counters: Counters) -> None:
        self._exchange = exchange
        self._counters = counters
        self._failures = 0
        self._rests_until = 0.0

    def rests(self, now: float) -> bool:
        """Whether others should be asked first."""
        return now < self._rests_until

    async def ask(self, question: Question) -> Answer | None:
        """Its answer, or None when it gives none that makes sense."""
        try:
            answer = await self._exchange.ask(question)
        except (OSError, EOFError, WireError) as error:
            self._counters.asked("error")
            if getattr(error, "errno", None) not in _OWN_FAULTS:
                self._failed(str(error))
            return None
        self._counters.asked("answer")
        if self._failures >= TOLERANCE:
            log.info("server %s answers again", self._exchange.endpoint)
        self._failures = 0
        self._rests_until = 0.0
        return answer

    def missed(self) -> None:
        """Take note that it had the time to answer, and did not."""
        self._counters.asked("timeout")
        self._failed("no answer")

    def _failed(self, why: str) -> None:
        now = asyncio.get_running_loop().time()
        self._failures += 1
        if self._failures == TOLERANCE:
            log.warning("server %s fails: %s", self._exchange.endpoint, why)
        if self._failures >= TOLERANCE and not self.rests(now):
            pause = REST * 2 ** min(self._failures - TOLERANCE, 10)
            self._rests_until = now + min(pause, LONGEST_REST)

    def close(self) -> None:
        """Let go of its connections."""
        self._exchange.close()


class Upstreams:
    """All servers, in the order of preference; *tasks* run the attempts, *counters* count."""

    def __init__(
        self, exchanges: Sequence[Exchange], tasks: Tasks, counters: Counters | None = None
    ) -> None:
        counters = counters or Counters()
        self._all = [Upstream(exchange, counters) for exchange in exchanges]
        self._tasks = tasks

    async def ask(self, question: Question) -> Answer:
        """The best answer that can be had in DEADLINE seconds; SERVFAIL if there is none.

        "Best" is any that says yes or no, or else the last that says something different.
        """
        now = asyncio.get_running_loop().time()
        servers = sorted(self._all, key=lambda upstream: upstream.rests(now))
        return await _Race(question, servers, self._tasks).run() or failure(question)

    def close(self) -> None:
        """Let go of all connections; questions under way must have been cancelled."""
        for upstream in self._all:
            upstream.close()


class _Race:
    """One question to one server after the other, until one settles it.

    Who is silent is asked again in turn, who has said something is not.
    """

    def __init__(self, question: Question, upstreams: Sequence[Upstream], tasks: Tasks) -> None:
        self._question = question
        self._silent = list(upstreams)
        self._tasks = tasks
        self._running: dict[asyncio.Task[Answer | None], tuple[Upstream, float]] = {}
        self._best: Answer | None = None
        self._settled = False

    async def run(self) -> Answer | None:
        """The best answer when it is settled, late, or there is nobody left to wait for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE
        pauses = chain(PATIENCE, repeat(PATIENCE[-1]))
        try:
            while not self._settled and (self._silent or self._running):
                if self._silent:
                    self._start(self._silent.pop(0))
                left = deadline - loop.time()
                if left <= 0:
                    break
                await self._listen(min(next(pauses), left) if self._silent else left)
        finally:
            self._abandon(loop.time())
        return self._best

    def _abandon(self, now: float) -> None:
        """Stop listening to those who have not answered, and remember it of who had the time."""
        for task, (upstream, started) in self._running.items():
            task.cancel()
            if now - started >= PATIENCE[0] / 2:
                upstream.missed()

    def _start(self, upstream: Upstream) -> None:
        self._silent.append(upstream)
        task = self._tasks.start(upstream.ask(self._question), "attempt")
        self._running[task] = upstream, asyncio.get_running_loop().time()

    async def _listen(self, patience: float) -> None:
        """Wait until somebody says something."""
        done, _ = await asyncio.wait(
            self._running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            upstream, _ = self._running.pop(task)
            if upstream in self._silent:
                self._silent.remove(upstream)
            answer = task.result()
            if answer and not self._settled:
                self._best = answer
                self._settled = answer.rcode in (NOERROR, NXDOMAIN) or answer.bogus is True
