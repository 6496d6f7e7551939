"""Answers that are not known yet: looked up, each question once at a time, and synthesised."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from faith.dns import reverse
from faith.dns.answer import Answer, failure
from faith.dns.dns_counters import Counters
from faith.dns.question import Question
from faith.dns.stale import AS_IT_CAME
from faith.dns.synthesis import Synthesis, hides_a, without_a
from faith.dns.wire import AAAA, NOERROR, NXDOMAIN, A

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from faith.dns.cache import Cache
    from faith.dns.lending import Lending, LentName
    from faith.dns.options import Options, View
    from faith.dns.tasks import Tasks

HEAD_START = 0.25
"""Seconds that AAAA records are asked for alone (RFC 6147 §5.1.8)."""
DEADLINE = 4.7
"""Seconds for all questions that one answer takes: clients give up after five."""


class Servers(Protocol):
    """Who is asked: Upstreams, or a table in a test."""

    async def ask(self, question: Question) -> Answer:
        """The answer, SERVFAIL if there is none."""


class Resolver:
    """Finds answers in *cache* or by *servers*, which *tasks* are spent on; *counters* count.

    *lending* makes A records for those who are to get them.
    """

    def __init__(
        self,
        options: Options,
        cache: Cache,
        servers: Servers,
        tasks: Tasks,
        counters: Counters | None = None,
        lending: Lending | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self.options = options
        self._cache = cache
        self._servers = servers
        self._tasks = tasks
        self._lending = lending
        self._asked: dict[bytes, asyncio.Task[Answer]] = {}

    async def resolve(self, question: Question, view: View) -> Answer:
        """The answer for a client of *view*.  Raises WireError for what a server garbled."""
        if view.prefixes and (named := reverse.of(question, self.options.all_prefixes)):
            return named.known() or named.answer(await self._look_up(named.v4_question()))
        synthesis = Synthesis(self.options, view, question)
        if synthesis.applies():
            return await _in_time(question, self._synthesise(question, synthesis))
        if lending := self._lending:
            if lending.applies(question, view):
                return await _in_time(question, self._lend(question, lending))
            if lent := lending.named(question):
                return await self._name(lent)
        answer = await self._look_up(question)
        return without_a(answer) if hides_a(view, question) else answer

    async def _synthesise(self, question: Question, synthesis: Synthesis) -> Answer:
        """Ask for AAAA records and, when these are missing or slow to come, for A records."""
        asked = self._look_up(question)
        a_question = question.of_type(A)
        timer = asyncio.get_running_loop().call_later(HEAD_START, self._look_up, a_question)
        try:
            reply = await asyncio.shield(asked)
        finally:
            timer.cancel()
        if reply.bogus is None and not question.unchecked:
            reply = Answer(reply.message, bogus=await self._is_bogus(question))
        if not synthesis.needs_a(reply):
            return synthesis.concluded(reply)
        a_reply = await asyncio.shield(self._look_up(a_question))
        concluded = synthesis.concluded(reply, a_reply)
        if synthesis.made:
            self._counters.synthesised()
        return concluded

    async def _lend(self, question: Question, lending: Lending) -> Answer:
        reply = await asyncio.shield(self._look_up(question))
        if not lending.needs_aaaa(reply):
            return reply
        aaaa_reply = await asyncio.shield(self._look_up(question.of_type(AAAA)))
        return lending.concluded(question, reply, aaaa_reply, time.monotonic())

    async def _name(self, lent: LentName) -> Answer:
        asked = lent.v6_question()
        return lent.answer(await self._look_up(asked) if asked else None, time.monotonic())

    async def _is_bogus(self, question: Question) -> bool:
        """Whether a question that failed for no stated reason is answered to who does not check.

        Then it was DNSSEC that failed, and to go on with A records would be to get round it
        (RFC 6147 §5.5 item 2).  The answer itself is of no use.
        """
        unchecked = Question(question.section, dnssec_ok=question.dnssec_ok, unchecked=True)
        reply = await asyncio.shield(self._look_up(unchecked))
        return reply.rcode in (NOERROR, NXDOMAIN)

    def _look_up(self, question: Question) -> asyncio.Future[Answer]:
        """The answer as a server gave it, or will give it.  Do not cancel it: others may wait."""
        now = time.monotonic()
        entry = self._cache.get(question, AS_IT_CAME, now)
        if entry:
            known: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            known.set_result(entry.answer.aged(int(now - entry.since)))
            return known
        task = self._asked.get(question.key)
        if task is None:
            task = self._tasks.start(self._ask(question), "look-up")
            self._asked[question.key] = task
            task.add_done_callback(lambda _: self._asked.pop(question.key))
        return task

    async def _ask(self, question: Question) -> Answer:
        answer = await self._servers.ask(question)
        self._cache.put(question, AS_IT_CAME, answer, time.monotonic())
        return answer


async def _in_time(question: Question, answer: Coroutine[None, None, Answer]) -> Answer:
    """The *answer*, or a failure when several questions take longer together than one may."""
    try:
        async with asyncio.timeout(DEADLINE):
            return await answer
    except TimeoutError:
        return failure(question)
