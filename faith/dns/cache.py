"""Answers kept until they are no longer true, and on request a while longer.

``now`` is any clock that only goes forward, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from faith.dns.wire import NOERROR, NXDOMAIN

if TYPE_CHECKING:
    from faith.dns.answer import Answer
    from faith.dns.question import Query, Question

OCTETS = 64 << 20
"""What all entries may take, by estimate."""
STALE_TTL = 30
"""Seconds that a client may keep what is past its time (RFC 8767 §4)."""
RECHECK = 30
"""Seconds from a failed refreshment to the next (RFC 8767 §5)."""

_OVERHEAD = 1000  # of an entry, its answer and its key, beside the message


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

    def stale_reply(self, query: Query, limit: int) -> bytes:
        """The same of an answer past its time: whatever its age, it has a TTL (RFC 8767 §4)."""
        answer = self.answer
        return answer.reply(query, answer.tail(answer.lifetime, least=STALE_TTL), limit)


class Cache:
    """Answers by their questions, in *octets* at most; what was not used for longest goes first.

    *stale* is for how many seconds past their time answers are kept.  The *tag* of a method tells
    answers apart that the same question has for different clients.
    """

    def __init__(self, octets: int = OCTETS, stale: int = 0) -> None:
        self.octets = 0
        self._limit = octets
        self._stale = stale
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

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
        """The newest entry that would do if nothing better can be had (RFC 8767)."""
        found = map(self._entries.get, (question.key + tag, question.name_key + tag))
        usable = [entry for entry in found if entry and now < entry.expires + self._stale]
        return max(usable, key=lambda entry: entry.since, default=None)

    def put(self, question: Question, tag: bytes, answer: Answer, now: float) -> None:
        """Keep *answer*, if its lifetime allows that.

        A failure does not replace an answer that can be used stale: it only puts off the next
        attempt (RFC 8767 §4, §5).
        """
        if not answer.lifetime:
            return
        if answer.rcode not in (NOERROR, NXDOMAIN):
            stale = self.get_stale(question, tag, now)
            if stale:
                stale.recheck = now + RECHECK
                return
        self._store(_key(question, answer) + tag, Entry(answer, now))

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

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.octets = 0


def _key(question: Question, answer: Answer) -> bytes:
    """The key to find *answer* by: that a name does not exist holds for all types (RFC 2308 §5).

    At the end of a chain it is another name that does not exist; and where we deny a name, a server
    may yet know of some type.
    """
    if answer.rcode == NXDOMAIN and not answer.answers and not answer.is_ours:
        return question.name_key
    return question.key
