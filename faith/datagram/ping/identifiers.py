"""The identifiers of translated echo requests (RFC 5508 §3, RFC 6146 §3.5.3).

A client's identifier is translated to the same identifier whatever host it asks, for as long as it
is in use (endpoint-independent mapping); replies are accepted only from the hosts that were asked.
``now`` is any clock that only goes forward, in seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Near = tuple[int, ...]
    """The client's side of a mapping: address, identifier and whatever else tells it from all
    others."""
    Domain = tuple[int, ...]
    """The scope in which identifiers must be unique."""

TIMEOUT = 60.0
"""Seconds: the least that RFC 5508 REQ-2 allows."""

PEERS = 4
"""The average number of hosts asked per identifier, when all identifiers are in use."""

_IDENTIFIERS = 1 << 16
_TRIES = 64


class Lent:
    """A mapping: the *identifier* of *domain* used for *near* until *due*, and the hosts asked with
    it."""

    __slots__ = ("domain", "due", "identifier", "near", "peers")

    def __init__(self, near: Near, domain: Domain, identifier: int) -> None:
        self.near = near
        self.domain = domain
        self.identifier = identifier
        self.due = 0.0
        self.peers: dict[int, float] = {}  # the host asked longest ago comes first


class Identifiers:
    """The mappings of at most *most* identifiers, each for *seconds* from its last request on.

    All of them together may have asked at most `PEERS` times as many hosts.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = seconds
        self.most = most
        self._by_near: dict[Near, Lent] = {}  # in the order of expiry
        self._by_identifier: dict[tuple[Domain, int], Lent] = {}
        self._asked = 0  # peers of all mappings

    def __len__(self) -> int:
        return len(self._by_near)

    def lend(
        self, near: Near, peer: int, wanted: int, now: float, domain: Domain = ()
    ) -> int | None:
        """Return the identifier in *domain* for *near*, which asks *peer*; *wanted* itself if it is
        free.

        Returns None when none is left.
        """
        self.expire(now)
        lent = self._by_near.get(near)
        if (lent is None or peer not in lent.peers) and self._asked >= self.most * PEERS:
            return None
        lent = lent or self._new(near, wanted, domain)
        if lent is None:
            return None
        self._by_near.pop(near, None)
        self._by_near[near] = lent  # the last to expire
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
        """Return which client asked *peer* with *identifier*; None if none did, or too long ago."""
        lent = self._by_identifier.get((domain, identifier))
        return lent.near if lent and lent.peers.get(peer, now) > now else None

    def expire(self, now: float) -> None:
        """Remove the mappings that have expired."""
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

    # -- hand-over ---------------------------------------------------------------------------

    def dumps(self) -> list[Any]:
        """Return all mappings, fit for JSON."""
        return [
            [lent.near, lent.domain, lent.identifier, lent.due, list(lent.peers.items())]
            for lent in self._by_near.values()
        ]

    def load(self, dumped: Iterable[Any]) -> None:
        """Add the mappings of another process, with the same clock; those of this process take
        precedence."""
        for near, domain, identifier, due, peers in dumped:
            lent = Lent(tuple(near), tuple(domain), identifier)
            lent.due = due
            lent.peers = dict(peers)
            place = lent.domain, identifier
            if lent.near not in self._by_near and place not in self._by_identifier:
                self._by_near[lent.near] = self._by_identifier[place] = lent
                self._asked += len(lent.peers)
        self._by_near = dict(sorted(self._by_near.items(), key=lambda item: item[1].due))
