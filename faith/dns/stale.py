"""Answers made of what servers said once, when they say nothing now (RFC 8767).

Only what servers said themselves is used past its time.  What clients got was made of it, and may
be wrong since: by another prefix, or because servers have said something else of the same name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.dns import local, reverse
from faith.dns.answer import SYNTHESISED, Answer, failure
from faith.dns.cache import Entry
from faith.dns.synthesis import Synthesis, hides_a, without_a
from faith.dns.wire import AAAA, A, WireError

if TYPE_CHECKING:
    from faith.dns.cache import Cache
    from faith.dns.lending import Lending
    from faith.dns.options import Options, View
    from faith.dns.question import Question

AS_IT_CAME = b""
"""The cache's tag for answers as servers gave them."""


class Stale:
    """Makes answers of what is in *cache*, by the same rules as the resolver."""

    def __init__(self, options: Options, cache: Cache, lending: Lending | None = None) -> None:
        self._options = options
        self._cache = cache
        self._lending = lending

    def find(self, question: Question, view: View, now: float) -> Entry | None:
        """The entry for a client of *view*, if what it takes is there.

        Its time is over when that of the first of its parts is.
        """
        parts = _Parts(self._cache, now)
        try:
            answer = self._concluded(question, view, parts, now)
        except WireError:
            return None
        if answer is None or not parts.used:
            return None
        pool = self._lending.pool if self._lending else None
        answer = local.corrected(question, self._options, view, answer, pool)
        entry = Entry(answer, now)
        entry.expires = min(part.expires for part in parts.used)
        entry.recheck = max(part.recheck for part in parts.used)
        return entry

    def _concluded(
        self, question: Question, view: View, parts: _Parts, now: float
    ) -> Answer | None:
        if view.prefixes and (named := reverse.of(question, self._options.all_prefixes)):
            reply = parts.get(named.v4_question())
            return reply and named.answer(reply)
        lending = self._lending
        if lending and (lent := lending.named(question)):
            asked = lent.v6_question()
            reply = parts.get(asked) if asked else None
            return reply and lent.answer(reply, now)
        reply = parts.get(question)
        synthesis = Synthesis(self._options, view, question)
        if reply is None and synthesis.applies() and self._was_made(question, view, now):
            reply = failure(question)  # as it was then
        if reply is None:
            return None
        if synthesis.applies() and synthesis.needs_a(reply):
            a_reply = parts.get(question.of_type(A))
            return a_reply and synthesis.concluded(reply, a_reply)
        if synthesis.applies():
            return synthesis.concluded(reply)
        if lending and lending.applies(question, view) and lending.needs_aaaa(reply):
            aaaa_reply = parts.get(question.of_type(AAAA))
            return aaaa_reply and lending.concluded(question, reply, aaaa_reply, now)
        return without_a(reply) if hides_a(view, question) else reply

    def _was_made(self, question: Question, view: View, now: float) -> bool:
        """Return whether AAAA records were made where servers failed to say that there are none.

        That DNSSEC was the reason of such a failure was ruled out then (RFC 6147 §5.5 item 2).
        """
        entry = self._cache.get_stale(question, self._cache.tag(view), now)
        return entry is not None and entry.answer.error == SYNTHESISED


class _Parts:
    """Answers as they came, with the TTLs that may be told of them now, and which were *used*."""

    def __init__(self, cache: Cache, now: float) -> None:
        self._cache = cache
        self._now = now
        self.used: list[Entry] = []

    def get(self, question: Question) -> Answer | None:
        entry = self._cache.get_stale(question, AS_IT_CAME, self._now)
        if entry is None:
            return None
        self.used.append(entry)
        answer = entry.answer
        octets = answer.message[: answer.base] + entry.stale_tail(self._now)
        return Answer(octets, bogus=answer.bogus, authoritative=answer.is_ours, error=answer.error)
