"""Answers that are not known yet: looked up, each question once at a time, and synthesised.

There is no task and no future for a question: a table has what is being looked up, with the
searches that wait for it, and a search is called when what it waits for is there.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from faith.dns import reverse
from faith.dns.answer import Answer, failure
from faith.dns.dns_counters import Counters
from faith.dns.question import Question
from faith.dns.stale import AS_IT_CAME
from faith.dns.synthesis import Synthesis, hides_a, without_a
from faith.dns.wire import AAAA, NOERROR, NXDOMAIN, A, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from faith.dns.cache import Cache
    from faith.dns.dns_timers import Timer
    from faith.dns.lending import Lending, LentName
    from faith.dns.options import Options, View
    from faith.dns.tasks import Tasks

    Take = Callable[[Answer], object]

HEAD_START = 0.25
"""Seconds that AAAA records are asked for alone (RFC 6147 §5.1.8)."""
VERDICT = 1.5
"""Seconds to find out that it is DNSSEC which an answer fails by: the server has just looked."""
LAST_VERDICT = 4.5
"""Seconds from the beginning until it is too late for that."""
DEADLINE = 4.7
"""Seconds for all questions that one answer takes: clients give up after five."""


_BITS = [bytes([bits]) for bits in range(4)]
"""What a question's key may end in."""

log = logging.getLogger("faith.dns")


class Cancellable(Protocol):
    """Something under way."""

    def cancel(self) -> None:
        """Stop it."""


class Servers(Protocol):
    """Who is asked: Upstreams, or a table in a test."""

    def ask(self, question: Question, done: Take) -> Cancellable:
        """Ask; *done* gets the answer, SERVFAIL if there is none, maybe before this returns."""

    def comes_back(self, host: str, port: int) -> bool:
        """Return whether a query from there, for what is being asked, is one of our own."""


class Resolver:
    """Finds answers in *cache* or by *servers*; *tasks* have the timers, *counters* count.

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
        self.counters = counters or Counters()
        self.options = options
        self._cache = cache
        self._servers = servers
        self.timers = tasks.timers
        self._lending = lending
        self._asked: dict[bytes, LookUp] = {}

    def resolve(
        self, question: Question, view: View, done: Take, client: Hashable = None
    ) -> Search:
        """Find the answer for a *client* of *view*; *done* gets it, maybe before this returns.

        What a server garbled is SERVFAIL.  The search that is returned can be cancelled.
        """
        search = self._search(question, view, done, client)
        try:
            search.begin()
        except WireError as error:
            search.garbled(error)
        return search

    def _search(self, question: Question, view: View, done: Take, client: Hashable) -> Search:
        if view.prefixes and (named := reverse.of(question, self.options.all_prefixes)):
            if known := named.known():
                return _Known(self, question, done, known)
            return _Single(self, question, done, named.v4_question(), named.answer)
        synthesis = Synthesis(self.options, view, question)
        if synthesis.applies():
            return _Synthesising(self, question, done, synthesis)
        if lending := self._lending:
            if lending.applies(question, view):
                return _Lending(self, question, done, lending, client)
            if lent := lending.named(question):
                if asked := lent.v6_question():
                    return _Single(self, question, done, asked, partial(_name_now, lent))
                return _Known(self, question, done, lent.answer(None, time.monotonic()))
        then = without_a if hides_a(view, question) else None
        return _Single(self, question, done, question, then)

    def is_asked(self, question: Question) -> bool:
        """Return whether *question* is being looked up, with whatever DO and CD bits."""
        asked, stem = self._asked, question.key[:-1]
        return any(stem + bits in asked for bits in _BITS)

    def look_up(self, question: Question, search: Search, take: Take) -> LookUp | None:
        """Have *take* called, of *search*, with the answer as a server gave it, or will give it.

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
            found.waiting.append((search, take))
            return found
        found = self._asked[question.key] = LookUp(question)
        found.waiting.append((search, take))
        asking = self._servers.ask(question, partial(self._answered, found))
        if found.waiting:
            found.asking = asking
        return found

    def _answered(self, look_up: LookUp, answer: Answer) -> None:
        del self._asked[look_up.question.key]
        look_up.asking = None
        self._cache.put(look_up.question, AS_IT_CAME, answer, time.monotonic())
        waiting, look_up.waiting = look_up.waiting, []
        for search, take in waiting:
            if not search.is_over:
                try:
                    take(answer)
                except WireError as error:
                    search.garbled(error)
        answer.forget_records()

    def leave(self, look_up: LookUp, search: Search) -> None:
        """Have *search* not wait for *look_up* any more; what nobody waits for is given up."""
        if not look_up.waiting:
            return
        look_up.waiting = [other for other in look_up.waiting if other[0] is not search]
        if not look_up.waiting and look_up.asking:
            look_up.asking.cancel()
            look_up.asking = None
            del self._asked[look_up.question.key]


class LookUp:
    """A question that a server was asked, and the searches that wait for the answer."""

    __slots__ = ("asking", "question", "waiting")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.waiting: list[tuple[Search, Take]] = []
        self.asking: Cancellable | None = None


class Search:
    """A question of a client's, until `conclude`."""

    __slots__ = ("_done", "_look_ups", "is_over", "question", "resolver", "timer")

    def __init__(self, resolver: Resolver, question: Question, done: Take) -> None:
        self.resolver = resolver
        self.question = question
        self._done = done
        self.is_over = False
        self._look_ups: list[LookUp] = []
        self.timer: Timer | None = None

    def begin(self) -> None:
        """Look something up, or conclude.  Raises WireError."""
        raise NotImplementedError

    def garbled(self, error: WireError) -> None:
        """Conclude with a failure: what a server said makes no sense."""
        log.debug("a server's reply makes no sense: %s", error)
        self.conclude(failure(self.question))

    def look_up(self, question: Question, take: Take) -> None:
        """Have *take* called with the answer to *question*, unless this is over by then."""
        look_up = self.resolver.look_up(question, self, take)
        if look_up:
            self._look_ups.append(look_up)

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Have *call* called in so many *seconds*, instead of what was to be called before.

        It must raise nothing.
        """
        if self.timer:
            self.timer.cancel()
        self.timer = self.resolver.timers.after(seconds, call)

    def conclude(self, answer: Answer) -> None:
        """Say that this is the answer.  What else was looked up for it goes on for others only."""
        if not self.is_over:
            self.cancel()
            self._done(answer)

    def overdue(self) -> None:
        """Conclude with a failure: it has taken too long."""
        self.conclude(failure(self.question))

    def cancel(self) -> None:
        """Stop, and call nobody."""
        self.is_over = True
        if self.timer:
            self.timer.cancel()
            self.timer = None
        for look_up in self._look_ups:
            self.resolver.leave(look_up, self)
        self._look_ups.clear()


class _Known(Search):
    """A question with an answer of our own."""

    __slots__ = ("_answer",)

    def __init__(self, resolver: Resolver, question: Question, done: Take, answer: Answer) -> None:
        super().__init__(resolver, question, done)
        self._answer = answer

    def begin(self) -> None:
        self.conclude(self._answer)


class _Single(Search):
    """A question that takes the answer to one, *asked*; *make* makes the answer of that."""

    __slots__ = ("_asked", "_make")

    def __init__(
        self,
        resolver: Resolver,
        question: Question,
        done: Take,
        asked: Question,
        make: Callable[[Answer], Answer] | None,
    ) -> None:
        super().__init__(resolver, question, done)
        self._asked = asked
        self._make = make

    def begin(self) -> None:
        self.look_up(self._asked, self._take)

    def _take(self, reply: Answer) -> None:
        self.conclude(self._make(reply) if self._make else reply)


class _Synthesising(Search):
    """A question for AAAA records, and one for A records when these are missing or slow to come.

    A failure for no stated reason takes a third, unchecked: if that is answered, then it was DNSSEC
    that failed, and to go on with A records would be to get round it (RFC 6147 §5.5 item 2).  All
    three are under way together as soon as they may be needed, so that a name whose AAAA records
    fail slowly has its A records in time (§5.1.2).
    """

    __slots__ = (
        "_a_is_asked",
        "_a_reply",
        "_began",
        "_is_judged",
        "_needs_a",
        "_reply",
        "_synthesis",
    )

    def __init__(
        self, resolver: Resolver, question: Question, done: Take, synthesis: Synthesis
    ) -> None:
        super().__init__(resolver, question, done)
        self._synthesis = synthesis
        self._reply: Answer | None = None
        self._a_reply: Answer | None = None
        self._a_is_asked = False
        self._is_judged = False
        self._needs_a: bool | None = None
        self._began = resolver.timers.now()

    def begin(self) -> None:
        self.look_up(self.question, self._take)
        if not self.is_over and self._reply is None:
            self.after(HEAD_START, self._be_impatient)

    def _be_impatient(self) -> None:
        self.after(DEADLINE - HEAD_START, self.overdue)
        self._ask_a()

    def _ask_a(self) -> None:
        if not self._a_is_asked:
            self._a_is_asked = True
            self.look_up(self.question.of_type(A), self._take_a)

    def _take(self, reply: Answer) -> None:
        self._reply = reply
        if reply.bogus is None and not self.question.unchecked:
            self._judge(reply)
        else:
            self._is_judged = True
            self._go_on()

    def _judge(self, reply: Answer) -> None:
        question = self.question
        unchecked = Question(question.section, dnssec_ok=question.dnssec_ok, unchecked=True)
        left = LAST_VERDICT - self._age()
        self.after(min(VERDICT, left), self._acquit)
        self._ask_a()
        self.look_up(unchecked, self._take_verdict)

    def _age(self) -> float:
        return self.resolver.timers.now() - self._began

    def _acquit(self) -> None:
        """Go on without a verdict: who gives none is silent, and does not doubt."""
        self.after(DEADLINE - self._age(), self.overdue)
        self._is_judged = True
        try:
            self._go_on()
        except WireError as error:
            self.garbled(error)

    def _take_verdict(self, verdict: Answer) -> None:
        if self._reply and not self._is_judged:
            is_bogus = verdict.rcode in (NOERROR, NXDOMAIN)
            self._reply = Answer(self._reply.message, bogus=is_bogus)
            self._is_judged = True
            self._go_on()

    def _take_a(self, reply: Answer) -> None:
        self._a_reply = reply
        self._go_on()

    def _go_on(self) -> None:
        """Conclude if there is all that it takes."""
        reply = self._reply
        if reply is None or not self._is_judged:
            return
        synthesis = self._synthesis
        if self._needs_a is None:
            self._needs_a = synthesis.needs_a(reply)
        if not self._needs_a:
            self.conclude(synthesis.concluded(reply))
        elif self._a_reply is None:
            self._ask_a()
        else:
            answer = synthesis.concluded(reply, self._a_reply)
            if synthesis.made:
                self.resolver.counters.synthesised()
            self.conclude(answer)


class _Lending(Search):
    """A question for A records, and one for AAAA records when these are missing or slow to come."""

    __slots__ = ("_aaaa_is_asked", "_aaaa_reply", "_client", "_lending", "_reply")

    def __init__(
        self,
        resolver: Resolver,
        question: Question,
        done: Take,
        lending: Lending,
        client: Hashable,
    ) -> None:
        super().__init__(resolver, question, done)
        self._lending = lending
        self._client = client
        self._reply: Answer | None = None
        self._aaaa_reply: Answer | None = None
        self._aaaa_is_asked = False

    def begin(self) -> None:
        self.look_up(self.question, self._take)
        if not self.is_over and self._reply is None:
            self.after(HEAD_START, self._be_impatient)

    def _be_impatient(self) -> None:
        self.after(DEADLINE - HEAD_START, self.overdue)
        self._ask_aaaa()

    def _ask_aaaa(self) -> None:
        if not self._aaaa_is_asked:
            self._aaaa_is_asked = True
            self.look_up(self.question.of_type(AAAA), self._take_aaaa)

    def _take(self, reply: Answer) -> None:
        self._reply = reply
        self._go_on()

    def _take_aaaa(self, reply: Answer) -> None:
        self._aaaa_reply = reply
        self._go_on()

    def _go_on(self) -> None:
        reply = self._reply
        if reply is None:
            return
        if not self._lending.needs_aaaa(reply):
            self.conclude(reply)
        elif self._aaaa_reply is None:
            self._ask_aaaa()
        else:
            self.conclude(
                self._lending.concluded(
                    self.question, reply, self._aaaa_reply, time.monotonic(), self._client
                )
            )


def _name_now(lent: LentName, reply: Answer) -> Answer:
    return lent.answer(reply, time.monotonic())
