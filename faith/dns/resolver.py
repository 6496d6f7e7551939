"""Answers that are not known yet: looked up, each question once at a time, and synthesised.

There is no task and no future for a question: a table has what is being looked up, with the
searches that wait for it, and a search is called when what it waits for is there.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from faith.dns import ipv4only, reverse
from faith.dns.counters import Counters
from faith.dns.search import Known, LendingSearch, Search, Single, Synthesising
from faith.dns.synthesis import Synthesis, without_a
from faith.dns.wire import IN, A, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from faith.dns.answer import Answer
    from faith.dns.cache import Cache
    from faith.dns.lending import Lending, LentName
    from faith.dns.options import Options, View
    from faith.dns.question import Question
    from faith.dns.tasks import Tasks

    Take = Callable[[Answer], object]

_AS_IT_CAME = b""
"""The cache's tag for answers as servers gave them."""
_BITS = [bytes([bits]) for bits in range(4)]
"""What a question's key may end in."""


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
        if local := ipv4only.answer(question, view.prefixes):
            return Known(self, question, done, local)
        if view.prefixes and (named := reverse.of(question, self.options.all_prefixes)):
            if known := named.known():
                return Known(self, question, done, known)
            return Single(self, question, done, named.v4_question(), named.answer)
        synthesis = Synthesis(self.options, view, question)
        if synthesis.applies():
            return Synthesising(self, question, done, synthesis)
        if lending := self._lending:
            if lending.applies(question, view):
                return LendingSearch(self, question, done, lending, client)
            if lent := lending.named(question):
                if asked := lent.v6_question():
                    return Single(self, question, done, asked, partial(_name_now, lent))
                return Known(self, question, done, lent.answer(None, time.monotonic()))
        then = without_a if _hides(view, question) else None
        return Single(self, question, done, question, then)

    def is_asked(self, question: Question) -> bool:
        """Return whether *question* is being looked up, with whatever DO and CD bits."""
        asked, stem = self._asked, question.key[:-1]
        return any(stem + bits in asked for bits in _BITS)

    def look_up(self, question: Question, search: Search, take: Take) -> LookUp | None:
        """Have *take* called, of *search*, with the answer as a server gave it, or will give it.

        None when that is done already.
        """
        now = time.monotonic()
        entry = self._cache.get(question, _AS_IT_CAME, now)
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
        self._cache.put(look_up.question, _AS_IT_CAME, answer, time.monotonic())
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


def _name_now(lent: LentName, reply: Answer) -> Answer:
    return lent.answer(reply, time.monotonic())


def _hides(view: View, question: Question) -> bool:
    """Return whether A records are to be kept from this asker.

    Who validates needs them, also for a synthesis of its own (RFC 6147 §5.5 item 3).
    """
    validates = question.dnssec_ok and question.unchecked
    return view.filter_a and (question.kind, question.klass) == (A, IN) and not validates
