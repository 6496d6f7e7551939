"""Answers kept until they are no longer true, and on request a while longer.

``now`` is any clock that only goes forward, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from faith.dns.answer import STALE, STALE_NXDOMAIN
from faith.dns.wire import NOERROR, NXDOMAIN

if TYPE_CHECKING:
    from collections.abc import Hashable

    from faith.dns.answer import Answer
    from faith.dns.question import Query, Question

OCTETS = 64 << 20
"""Memory that all entries may take, by estimate."""
STALE_TTL = 30
"""Seconds that a client may keep what is past its time (RFC 8767 §4)."""
RECHECK = 30
"""Seconds from a failed refreshment to the next (RFC 8767 §5)."""

_OVERHEAD = 1000  # of an entry, its answer and its key, beside the message
_TAG_OCTETS = 4
_NEVER = float("-inf")


class Entry:
    """An answer since some moment.

    *recheck* is when a server is worth asking again, after it has failed to refresh the answer.
    """

    __slots__ = ("_age", "_tail", "answer", "expires", "octets", "recheck", "since")

    def __init__(self, answer: Answer, since: float) -> None:
        self.answer = answer
        self.since = since
        self.expires = since + answer.lifetime
        self.recheck = since
        self.octets = _OVERHEAD + 2 * len(answer.message)
        self._age = 0
        self._tail = answer.tail(0)

    def revoke(self) -> None:
        """Be told to nobody any more, and only stand for that what is older is over."""
        self.expires = _NEVER

    def tail(self, now: float) -> bytes:
        """The records, with the TTLs that remain."""
        age = int(now - self.since)
        if age != self._age:
            self._age = age
            self._tail = self.answer.tail(age)
        return self._tail

    def reply(self, query: Query, now: float, limit: int) -> bytes:
        """The message that answers *query*, of *limit* octets at most."""
        return self.answer.reply(query, self.tail(now), limit)

    def stale_reply(self, query: Query, now: float, limit: int) -> bytes:
        """The same of an answer past its time: what has no TTL left gets one (RFC 8767 §4)."""
        error = STALE if self.answer.rcode == NOERROR else STALE_NXDOMAIN
        return self.answer.reply(query, self.stale_tail(now), limit, error)

    def stale_tail(self, now: float) -> bytes:
        """The records, with TTLs of `STALE_TTL` or more."""
        return self.answer.tail(int(now - self.since), least=STALE_TTL)


class Cache:
    """Answers by their questions, in *octets* at most; what was not used for longest goes first.

    *stale* is for how many seconds past their time answers are kept.  The *tag* of a method tells
    answers apart that the same question has for different clients: see `tag`.
    """

    def __init__(self, octets: int = OCTETS, stale: int = 0) -> None:
        self.octets = 0
        self._limit = octets
        self._stale = stale
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._tags: dict[Hashable, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def tag(self, view: Hashable) -> bytes:
        """The tag of clients that see the same *view*, of four octets that are not all zero."""
        number = len(self._tags) + 1
        return self._tags.setdefault(view, number.to_bytes(_TAG_OCTETS, "big"))

    def get(self, question: Question, tag: bytes, now: float) -> Entry | None:
        """The entry that answers *question*, if there is one whose time is not over."""
        key = question.key + tag
        entry = self._entries.get(key)
        if entry is None or now >= entry.expires:
            key = question.name_key + tag
            entry = self._entries.get(key)
            if entry is None or now >= entry.expires:
                return None
        self._entries.move_to_end(key)
        return entry

    def get_stale(self, question: Question, tag: bytes, now: float) -> Entry | None:
        """The newest entry, if it would do when nothing better can be had (RFC 8767).

        A failure is none; and what is older than the newest was seen to be over.
        """
        found = map(self._entries.get, (question.key + tag, question.name_key + tag))
        told = (entry for entry in found if entry and is_told(entry.answer))
        newest = max(told, key=lambda entry: entry.since, default=None)
        return newest if newest and now < newest.expires + self._stale else None

    def put(self, question: Question, tag: bytes, answer: Answer, now: float) -> None:
        """Keep *answer*, if its lifetime allows that; what it contradicts is over in any case.

        A failure does not replace an answer that can be used stale: it only puts off the next
        attempt (RFC 8767 §4, §5).
        """
        key, name_key = question.key + tag, question.name_key + tag
        if not is_told(answer):
            if stale := self.get_stale(question, tag, now):
                stale.recheck = now + RECHECK
            elif answer.lifetime:
                self._store(key, Entry(answer, now))
            return
        self._forget(key)
        if _is_for_all_types(answer):
            entry = Entry(answer, now)
            if not answer.lifetime:
                entry.revoke()
            if answer.lifetime or self._stale:
                self._store(name_key, entry)
            return
        if denied := self._entries.get(name_key):
            denied.revoke()
        if answer.lifetime:
            self._store(key, Entry(answer, now))

    def _store(self, key: bytes, entry: Entry) -> None:
        self._forget(key)
        self._entries[key] = entry
        self.octets += entry.octets
        while self.octets > self._limit:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry:
            self.octets -= entry.octets

    def forget_below(self, domain: bytes) -> None:
        """Forget all names in *domain*, which is on the wire and in lower case."""
        for key in [key for key in self._entries if domain in key]:
            self._forget(key)


def is_told(answer: Answer) -> bool:
    """Return whether *answer* says yes or no, and is no failure to find out."""
    return answer.rcode in (NOERROR, NXDOMAIN)


def _is_for_all_types(answer: Answer) -> bool:
    """Return whether *answer* is that the name does not exist, for any type (RFC 2308 §5).

    At the end of a chain it is another name that does not exist; and where we deny a name, a server
    may yet know of some type.
    """
    return answer.rcode == NXDOMAIN and not answer.answers and not answer.is_ours
