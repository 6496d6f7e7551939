"""The servers that know: several of them, of which one that does not answer is soon asked last."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain, repeat
from typing import TYPE_CHECKING

from faith.dns.answer import failure
from faith.dns.wire import NOERROR, NXDOMAIN, WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.dns.answer import Answer
    from faith.dns.exchange import Exchange
    from faith.dns.question import Question

DEADLINE = 4.4
"""Seconds for a question in all: clients give up after five."""
PATIENCE = (0.6, 0.9, 1.2)
"""Seconds after each attempt until the next is made; replies to the former still count."""
TOLERANCE = 3
"""Failures in a row until a server is asked after all others."""
REST = 1.0
"""Seconds until it has another chance, doubled with every further failure."""
LONGEST_REST = 30.0

log = logging.getLogger("faith.dns")


class Upstream:
    """A server and its health; *now* is the loop's time."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._failures = 0
        self._rests_until = 0.0

    def rests(self, now: float) -> bool:
        """Whether others should be asked first."""
        return now < self._rests_until

    async def ask(self, question: Question) -> Answer | None:
        """Its answer, or None when it gives none that makes sense."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            answer = await self._exchange.ask(question)
        except (OSError, EOFError, WireError) as error:
            self._failed(loop.time(), str(error))
            return None
        except asyncio.CancelledError:
            if loop.time() - started >= PATIENCE[0] / 2:
                self._failed(loop.time(), "no answer")
            raise
        if self._failures >= TOLERANCE:
            log.info("server %s answers again", self._exchange.endpoint)
        self._failures = 0
        self._rests_until = 0.0
        return answer

    def _failed(self, now: float, why: str) -> None:
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
    """All servers, in the order of preference."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._all = [Upstream(exchange) for exchange in exchanges]

    async def ask(self, question: Question) -> Answer:
        """The best answer that can be had in DEADLINE seconds; SERVFAIL if there is none.

        "Best" is any that says yes or no, or else the last that says something different.
        """
        now = asyncio.get_running_loop().time()
        race = _Race(question, sorted(self._all, key=lambda upstream: upstream.rests(now)))
        try:
            async with asyncio.timeout(DEADLINE):
                await race.run()
        except TimeoutError:
            log.debug("no answer in time")
        return race.best

    def close(self) -> None:
        """Let go of all connections; questions under way must have been cancelled."""
        for upstream in self._all:
            upstream.close()


class _Race:
    """One question to one server after the other, until one settles it.

    Who is silent is asked again in turn, who has said something is not.
    """

    def __init__(self, question: Question, upstreams: Sequence[Upstream]) -> None:
        self.best = failure(question)
        self._question = question
        self._silent = list(upstreams)
        self._running: dict[asyncio.Task[Answer | None], Upstream] = {}
        self._settled = False

    async def run(self) -> None:
        """Returns when it is settled, or there is nobody left to wait for."""
        async with asyncio.TaskGroup() as group:
            try:
                for patience in chain(PATIENCE, repeat(PATIENCE[-1])):
                    if self._settled or not self._silent:
                        break
                    upstream = self._silent.pop(0)
                    self._silent.append(upstream)
                    task = group.create_task(upstream.ask(self._question))
                    self._running[task] = upstream
                    await self._listen(patience)
                while self._running and not self._settled:
                    await self._listen(DEADLINE)
            finally:
                for task in self._running:
                    task.cancel()

    async def _listen(self, patience: float) -> None:
        """Wait until somebody says something."""
        done, _ = await asyncio.wait(
            self._running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            upstream = self._running.pop(task)
            if upstream in self._silent:
                self._silent.remove(upstream)
            answer = task.result()
            if answer and not self._settled:
                self.best = answer
                self._settled = answer.rcode in (NOERROR, NXDOMAIN) or answer.bogus is True
