"""The identifiers of translated echo requests (RFC 5508 §3, RFC 6146 §3.5.3).

A client's identifier is translated to the same identifier whatever host it asks, for as long as it
is in use (endpoint-independent mapping); replies are accepted only from the hosts that were asked.
``now`` is any clock that only goes forward, in seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from faith.translation.shares import CLIENT_LENGTH, Shares, client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.translation.shares import Place

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


class IdentifierMapping:
    """A mapping: the *identifier* of *domain* used for *near* until *due*, and the hosts asked with
    it."""

    __slots__ = ("address", "domain", "due", "identifier", "near", "peers", "place")

    def __init__(
        self, near: Near, address: int, domain: Domain, identifier: int, place: Place
    ) -> None:
        self.near = near
        self.address = address
        self.domain = domain
        self.place = place
        self.identifier = identifier
        self.due = 0.0
        self.peers: dict[int, float] = {}  # the host asked longest ago comes first


class Identifiers:
    """The mappings of at most *most* identifiers, each for *seconds* from its last request on.

    All of them together may have asked at most `PEERS` times as many hosts.  Clients have shares of
    them; IPv6 addresses with the first *length* bits in common are one client.
    """

    def __init__(self, seconds: float, most: int, length: int = CLIENT_LENGTH) -> None:
        self.seconds = seconds
        self.length = length
        self._places = Shares(most)
        self._by_near: dict[Near, IdentifierMapping] = {}  # in the order of expiry
        self._by_identifier: dict[tuple[Domain, int], IdentifierMapping] = {}
        self._asked = 0  # peers of all mappings

    def __len__(self) -> int:
        return len(self._by_near)

    def fill(self) -> tuple[int, int]:
        """Return how many identifiers are in use, and how many may be."""
        return self._places.fill()

    def assign(
        self, near: Near, address: int, peer: int, wanted: int, now: float, domain: Domain = ()
    ) -> int | None:
        """Return the identifier in *domain* for *near*, which asks *peer*; *wanted* itself if it is
        free.

        *address* is the client's, of 128 bits (IPv4 is at ::ffff:0:0/96).  Returns None when none
        is left, or the client has its share.
        """
        self.expire(now)
        mapping = self._by_near.get(near)
        if (
            mapping is None or peer not in mapping.peers
        ) and self._asked >= self._places.limit * PEERS:
            return None
        mapping = mapping or self._new(near, address, wanted, domain, now)
        if mapping is None:
            return None
        self._by_near.pop(near, None)
        self._by_near[near] = mapping  # the last to expire
        mapping.due = now + self.seconds
        self._ask(mapping, peer, now)
        return mapping.identifier

    def _ask(self, mapping: IdentifierMapping, peer: int, now: float) -> None:
        peers = mapping.peers
        before = len(peers)
        peers.pop(peer, None)
        peers[peer] = mapping.due
        while peers[oldest := next(iter(peers))] <= now:
            del peers[oldest]
        self._asked += len(peers) - before

    def whose(self, identifier: int, peer: int, now: float, domain: Domain = ()) -> Near | None:
        """Return which client asked *peer* with *identifier*; None if none did, or too long ago."""
        mapping = self._by_identifier.get((domain, identifier))
        return mapping.near if mapping and mapping.peers.get(peer, now) > now else None

    def expire(self, now: float) -> None:
        """Remove the mappings that have expired."""
        while self._by_near and (mapping := next(iter(self._by_near.values()))).due <= now:
            del self._by_near[mapping.near], self._by_identifier[mapping.domain, mapping.identifier]
            self._places.leave(mapping.place)
            self._asked -= len(mapping.peers)

    def _new(
        self, near: Near, address: int, wanted: int, domain: Domain, now: float
    ) -> IdentifierMapping | None:
        who = client(address, self.length)
        if not self._places.admits(who):
            return None
        for identifier in self._candidates(wanted):
            if (domain, identifier) not in self._by_identifier:
                place = self._places.enter(who, near, now)
                mapping = IdentifierMapping(near, address, domain, identifier, place)
                self._by_identifier[domain, identifier] = mapping
                return mapping
        return None

    def _candidates(self, wanted: int) -> Iterator[int]:
        yield wanted
        for _ in range(_TRIES):
            yield random.randrange(_IDENTIFIERS)

    # -- hand-over ---------------------------------------------------------------------------

    def dumps(self) -> list[Any]:
        """Return all mappings, fit for JSON."""
        return [
            [
                mapping.near,
                mapping.address,
                mapping.domain,
                mapping.identifier,
                mapping.due,
                list(mapping.peers.items()),
            ]
            for mapping in self._by_near.values()
        ]

    def load(self, dumped: Iterable[Any]) -> None:
        """Add the mappings of another process, with the same clock; those of this process take
        precedence."""
        for their_near, address, their_domain, identifier, due, peers in dumped:
            near, domain = tuple(their_near), tuple(their_domain)
            if near in self._by_near or (domain, identifier) in self._by_identifier:
                continue
            place = self._places.enter(client(address, self.length), near, due)
            mapping = IdentifierMapping(near, address, domain, identifier, place)
            mapping.due = due
            mapping.peers = dict(peers)
            self._by_near[near] = self._by_identifier[domain, identifier] = mapping
            self._asked += len(mapping.peers)
        self._by_near = dict(sorted(self._by_near.items(), key=lambda item: item[1].due))
