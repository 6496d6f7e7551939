"""Answers that are not known yet: which search it takes to find one."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from faith.dns import reverse
from faith.dns.look_ups import LookUps
from faith.dns.search import Known, LendingSearch, Single, SynthesisSearch
from faith.dns.synthesis import Synthesis, hides_a, without_a
from faith.dns.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from faith.dns.answer import Answer
    from faith.dns.cache import Cache
    from faith.dns.dns_counters import Counters
    from faith.dns.lending import Lending, LentName
    from faith.dns.look_ups import Servers, Take
    from faith.dns.options import Options, View
    from faith.dns.question import Question
    from faith.dns.search import Search
    from faith.dns.tasks import Tasks


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
        self.options = options
        self._lending = lending
        self._table = LookUps(cache, servers, tasks.timers, counters)

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
                return Known(self._table, question, done, known)
            return Single(self._table, question, done, named.v4_question(), named.answer)
        synthesis = Synthesis(self.options, view, question)
        if synthesis.applies():
            return SynthesisSearch(self._table, question, done, synthesis)
        if lending := self._lending:
            if lending.applies(question, view):
                return LendingSearch(self._table, question, done, lending, client)
            if lent := lending.named(question):
                if asked := lent.v6_question():
                    return Single(self._table, question, done, asked, partial(_name_now, lent))
                return Known(self._table, question, done, lent.answer(None, time.monotonic()))
        then = without_a if hides_a(view, question) else None
        return Single(self._table, question, done, question, then)

    def is_asked(self, question: Question) -> bool:
        """Return whether *question* is being looked up, with whatever DO and CD bits."""
        return self._table.is_asked(question)


def _name_now(lent: LentName, reply: Answer) -> Answer:
    return lent.answer(reply, time.monotonic())
