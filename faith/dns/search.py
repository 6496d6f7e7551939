"""A question of a client until it is answered: what it takes to ask, and when to go on without it.

There is no task and no future for a search: it is called when what it waits for is there.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from faith.dns.answer import Answer, failure
from faith.dns.question import Question
from faith.dns.wire import AAAA, NOERROR, NXDOMAIN, A, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from faith.dns.dns_timers import Timer
    from faith.dns.lending import Lending
    from faith.dns.look_ups import LookUp, LookUps, Take
    from faith.dns.synthesis import Synthesis

HEAD_START = 0.25
"""Seconds that AAAA records are asked for alone (RFC 6147 §5.1.8)."""
VERDICT = 1.5
"""Seconds to find out that it is DNSSEC which an answer fails by: the server has just looked."""
LAST_VERDICT = 4.5
"""Seconds from the beginning until it is too late for that."""
DEADLINE = 4.7
"""Seconds for all questions that one answer takes: clients give up after five."""

log = logging.getLogger("faith.dns")


class Search:
    """A question of a client's, until `conclude`."""

    __slots__ = ("_done", "_look_ups", "is_over", "question", "table", "timer")

    def __init__(self, table: LookUps, question: Question, done: Take) -> None:
        self.table = table
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
        look_up = self.table.look_up(question, self, take)
        if look_up:
            self._look_ups.append(look_up)

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Have *call* called in so many *seconds*, instead of what was to be called before.

        It must raise nothing.
        """
        if self.timer:
            self.timer.cancel()
        self.timer = self.table.timers.after(seconds, call)

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
            self.table.leave(look_up, self)
        self._look_ups.clear()


class Known(Search):
    """A question with an answer of our own."""

    __slots__ = ("_answer",)

    def __init__(self, table: LookUps, question: Question, done: Take, answer: Answer) -> None:
        super().__init__(table, question, done)
        self._answer = answer

    def begin(self) -> None:
        self.conclude(self._answer)


class Single(Search):
    """A question that takes the answer to one, *asked*; *make* makes the answer of that."""

    __slots__ = ("_asked", "_make")

    def __init__(
        self,
        table: LookUps,
        question: Question,
        done: Take,
        asked: Question,
        make: Callable[[Answer], Answer] | None,
    ) -> None:
        super().__init__(table, question, done)
        self._asked = asked
        self._make = make

    def begin(self) -> None:
        self.look_up(self._asked, self._take)

    def _take(self, reply: Answer) -> None:
        self.conclude(self._make(reply) if self._make else reply)


class SearchOfTwo(Search):
    """A question for records of one type, and one for those of the *other*, A or AAAA.

    The other one is asked when the records are missing or slow to come.
    """

    __slots__ = ("_other", "_other_is_asked", "_other_reply", "_reply")

    def __init__(self, table: LookUps, question: Question, done: Take, other: int) -> None:
        super().__init__(table, question, done)
        self._other = other
        self._reply: Answer | None = None
        self._other_reply: Answer | None = None
        self._other_is_asked = False

    def begin(self) -> None:
        self.look_up(self.question, self._take)
        if not self.is_over and self._reply is None:
            self.after(HEAD_START, self._be_impatient)

    def _be_impatient(self) -> None:
        self.after(DEADLINE - HEAD_START, self.overdue)
        self._ask_other()

    def _ask_other(self) -> None:
        if not self._other_is_asked:
            self._other_is_asked = True
            self.look_up(self.question.of_type(self._other), self._take_other)

    def _take(self, reply: Answer) -> None:
        self._reply = reply
        self._go_on()

    def _take_other(self, reply: Answer) -> None:
        self._other_reply = reply
        self._go_on()

    def _go_on(self) -> None:
        """Conclude if there is all that it takes.  Raises WireError."""
        raise NotImplementedError


class SynthesisSearch(SearchOfTwo):
    """A question for AAAA records, and one for A records when these are missing or slow to come.

    A failure for no stated reason takes a third, unchecked: if that is answered, then it was DNSSEC
    that failed, and to go on with A records would be to get round it (RFC 6147 §5.5 item 2).  All
    three are under way together as soon as they may be needed, so that a name whose AAAA records
    fail slowly has its A records in time (§5.1.2).
    """

    __slots__ = ("_began", "_is_judged", "_needs_a", "_synthesis")

    def __init__(
        self, table: LookUps, question: Question, done: Take, synthesis: Synthesis
    ) -> None:
        super().__init__(table, question, done, A)
        self._synthesis = synthesis
        self._is_judged = False
        self._needs_a: bool | None = None
        self._began = table.timers.now()

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
        self._ask_other()
        self.look_up(unchecked, self._take_verdict)

    def _age(self) -> float:
        return self.table.timers.now() - self._began

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

    def _go_on(self) -> None:
        reply = self._reply
        if reply is None or not self._is_judged:
            return
        synthesis = self._synthesis
        if self._needs_a is None:
            self._needs_a = synthesis.needs_a(reply)
        if not self._needs_a:
            self.conclude(synthesis.concluded(reply))
        elif self._other_reply is None:
            self._ask_other()
        else:
            answer = synthesis.concluded(reply, self._other_reply)
            if synthesis.made:
                self.table.counters.synthesised()
            self.conclude(answer)


class LendingSearch(SearchOfTwo):
    """A question for A records, and one for AAAA records when these are missing or slow to come."""

    __slots__ = ("_client", "_lending")

    def __init__(
        self,
        table: LookUps,
        question: Question,
        done: Take,
        lending: Lending,
        client: Hashable,
    ) -> None:
        super().__init__(table, question, done, AAAA)
        self._lending = lending
        self._client = client

    def _go_on(self) -> None:
        reply = self._reply
        if reply is None:
            return
        if not self._lending.needs_aaaa(reply):
            self.conclude(reply)
        elif self._other_reply is None:
            self._ask_other()
        else:
            self.conclude(
                self._lending.concluded(
                    self.question, reply, self._other_reply, time.monotonic(), self._client
                )
            )
