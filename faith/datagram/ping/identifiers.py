"""The identifiers that echo requests go on with (RFC 5508 §3, RFC 6146 §3.5.3).

One that a client uses leads to the same one of ours whomever it asks, for as long as it is used;
and what answers to ours is let through from those who were asked.  ``now`` is any clock that only
goes forward, in seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Near = tuple[int, ...]
    """Who asks, with which identifier, and by what else: numbers that tell it from all others."""
    Domain = tuple[int, ...]
    """Where identifiers must differ from each other."""

TIMEOUT = 60.0
"""Seconds that RFC 5508 REQ-2 asks for at least."""

PEERS = 4
"""How many hosts there are for an identifier on the average, when all are lent."""

_IDENTIFIERS = 1 << 16
_TRIES = 64


class Lent:
    """An *identifier* of *domain* that is *near*'s until *due*, and who was asked with it."""

    __slots__ = ("domain", "due", "identifier", "near", "peers")

    def __init__(self, near: Near, domain: Domain, identifier: int) -> None:
        self.near = near
        self.domain = domain
        self.identifier = identifier
        self.due = 0.0
        self.peers: dict[int, float] = {}  # the longest unasked first


class Identifiers:
    """Lends at most *most* identifiers, each for *seconds* from its last request on.

    With all of them together `PEERS` times as many hosts are asked at a time.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = seconds
        self.most = most
        self._by_near: dict[Near, Lent] = {}  # those that are due first come first
        self._by_identifier: dict[tuple[Domain, int], Lent] = {}
        self._asked = 0  # the peers of all

    def __len__(self) -> int:
        return len(self._by_near)

    def lend(
        self, near: Near, peer: int, wanted: int, now: float, domain: Domain = ()
    ) -> int | None:
        """The identifier in *domain* for *near*, which asks *peer*; *wanted* itself if it is free.

        None when there is none to be had.
        """
        self.expire(now)
        lent = self._by_near.get(near)
        if (lent is None or peer not in lent.peers) and self._asked >= self.most * PEERS:
            return None
        lent = lent or self._new(near, wanted, domain)
        if lent is None:
            return None
        self._by_near.pop(near, None)
        self._by_near[near] = lent  # the last one now
        lent.due = now + self.seconds
        self._ask(lent, peer, now)
        return lent.identifier

    def _ask(self, lent: Lent, peer: int, now: float) -> None:
        peers = lent.peers
        before = len(peers)
        peers.pop(peer, None)
        peers[peer] = lent.due
        while peers[oldest := next(iter(peers))] <= now:
            del peers[oldest]
        self._asked += len(peers) - before

    def whose(self, identifier: int, peer: int, now: float, domain: Domain = ()) -> Near | None:
        """Who has asked *peer* with *identifier*; None if nobody has, or too long ago."""
        lent = self._by_identifier.get((domain, identifier))
        return lent.near if lent and lent.peers.get(peer, now) > now else None

    def expire(self, now: float) -> None:
        """Forget those that nobody uses any more."""
        while self._by_near and (lent := next(iter(self._by_near.values()))).due <= now:
            del self._by_near[lent.near], self._by_identifier[lent.domain, lent.identifier]
            self._asked -= len(lent.peers)

    def _new(self, near: Near, wanted: int, domain: Domain) -> Lent | None:
        if len(self) >= self.most:
            return None
        for identifier in self._candidates(wanted):
            if (domain, identifier) not in self._by_identifier:
                lent = self._by_identifier[domain, identifier] = Lent(near, domain, identifier)
                return lent
        return None

    def _candidates(self, wanted: int) -> Iterator[int]:
        yield wanted
        for _ in range(_TRIES):
            yield random.randrange(_IDENTIFIERS)

    # -- from one process to the next --------------------------------------------------------

    def dumps(self) -> list[Any]:
        """All that is lent, fit for JSON."""
        return [
            [lent.near, lent.domain, lent.identifier, lent.due, list(lent.peers.items())]
            for lent in self._by_near.values()
        ]

    def load(self, dumped: Iterable[Any]) -> None:
        """Have lent what another process has, by the same clock; what is lent here comes first."""
        for near, domain, identifier, due, peers in dumped:
            lent = Lent(tuple(near), tuple(domain), identifier)
            lent.due = due
            lent.peers = dict(peers)
            place = lent.domain, identifier
            if lent.near not in self._by_near and place not in self._by_identifier:
                self._by_near[lent.near] = self._by_identifier[place] = lent
                self._asked += len(lent.peers)
        self._by_near = dict(sorted(self._by_near.items(), key=lambda item: item[1].due))
