"""Synthesis of an answer from those of the servers: the decisions of RFC 6147 §5.

For a question that `applies` is true of, ask for its own type; if `needs_a` then says so, ask for
type A as well; `concluded` is what the client gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.dns import objects
from faith.dns.answer import FILTERED, SYNTHESISED, Answer
from faith.dns.options import Rule
from faith.dns.rewrite import to_aaaa
from faith.dns.wire import AAAA, ANSWER, ANY, IN, NOERROR, NXDOMAIN, A
from faith.translation.address import from_packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.options import Options, View
    from faith.dns.question import Question

TTL_WITHOUT_SOA = 600
"""Seconds that synthetic records live at most when no SOA record tells (RFC 6147 §5.1.7)."""


class Synthesis:
    """DNS64 for one question of a client of *view*."""

    __slots__ = ("_always", "_mapped", "_never", "_options", "_question", "_view", "made")

    def __init__(self, options: Options, view: View, question: Question) -> None:
        self._options = options
        self._view = view
        self._question = question
        rule = options.rule(question.name)
        self._always = rule is Rule.ALWAYS
        self._never = rule is Rule.NEVER
        self._mapped: dict[int, tuple[bytes, ...]] = {}
        self.made = False
        """True once `concluded` has made AAAA records."""

    def applies(self) -> bool:
        """Return whether anything may be synthesised: for AAAA records of the Internet only (§5.1).

        Who sets DO and CD validates for itself, and would refuse what is made here (§5.5 item 3).
        """
        question = self._question
        return (
            (question.kind, question.klass) == (AAAA, IN)
            and bool(self._view.prefixes)
            and not self._never
            and not (question.dnssec_ok and question.unchecked)
        )

    def needs_a(self, reply: Answer) -> bool:
        """Return whether A records are needed, when *reply* came to the question itself.

        A timeout is to be told as SERVFAIL (§5.1.3).  A name that does not exist stays so, and any
        other error is an empty answer (§5.1.2); but one that DNSSEC found to be forged is not a
        reason to trust the next one (§5.5 item 2).
        """
        if reply.rcode == NXDOMAIN or reply.bogus:
            return False
        return reply.rcode != NOERROR or self._always or not self._has_real(reply)

    def concluded(self, reply: Answer, a_reply: Answer | None = None) -> Answer:
        """The answer for the client, by the replies to its question and to the one for A records.

        Raises WireError.
        """
        if a_reply is None or (a_reply.rcode != NOERROR and self._has_real(reply)):
            return self._without_excluded(reply)
        if a_reply.rcode != NOERROR:
            return a_reply.asked_for(AAAA)  # §5.1.6
        if any(self._addresses(v4) for v4 in addresses(a_reply, A)):
            self.made = True
            made = to_aaaa(a_reply, self._addresses, self._ttl_limit(reply))
            made.error = SYNTHESISED
            return made
        if reply.rcode == NOERROR:
            return self._without_excluded(reply)  # §5.4: no data, so the client's own answer
        return without_a(a_reply).asked_for(AAAA)

    def _has_real(self, reply: Answer) -> bool:
        return any(v6 not in self._options.exclude for v6 in addresses(reply, AAAA))

    def _without_excluded(self, reply: Answer) -> Answer:
        return _without(reply, AAAA, lambda v6: v6 in self._options.exclude)

    def _addresses(self, v4: int) -> tuple[bytes, ...]:
        found = self._mapped.get(v4)
        if found is None:
            found = self._mapped[v4] = self._options.addresses(v4, self._view)
        return found

    def _ttl_limit(self, reply: Answer) -> int:
        return TTL_WITHOUT_SOA if reply.negative_ttl is None else reply.negative_ttl


def without_a(reply: Answer) -> Answer:
    """*reply* without its A records, for clients that they are of no use to."""
    found = _without(reply, A, lambda v4: True)
    if found is not reply:
        found.error = FILTERED
    return found


def hides_a(view: View, question: Question) -> bool:
    """Return whether A records are to be kept from this asker.

    Who validates needs them, also for a synthesis of its own (RFC 6147 §5.5 item 3).
    """
    validates = question.dnssec_ok and question.unchecked
    asked = question.kind in (A, ANY) and question.klass == IN
    return view.filter_a and asked and not validates


def addresses(reply: Answer, kind: int) -> list[int]:
    """The addresses in the answer section, of type A or AAAA."""
    return [
        from_packed(reply.message[record.data : record.end])
        for record in reply.records()
        if record.kind == kind and record.section == ANSWER and record.klass == IN
    ]


def _without(reply: Answer, kind: int, unwanted: Callable[[int], bool]) -> Answer:
    if not any(map(unwanted, addresses(reply, kind))):
        return reply
    found = Answer(objects.without(reply.message, kind, lambda data: unwanted(from_packed(data))))
    found.lifetime = reply.lifetime  # also of a "no" that this makes, and no SOA record is in
    return found
