"""Shares of a table that clients fill: nobody's crowd takes the last places from others.

While less than half of the places are taken, whoever comes gets one.  Above that a client may hold
as many as are free, and who holds more is refused first.  So one client alone never gets more than
half of them, two not more than a third each, and somebody who holds none finds a place as long as
the crowds are fewer than the places.  No client needs to be known beforehand, and to decide takes
two numbers.  (Buffers of switches are shared out so: dynamic thresholds, A. K. Choudhury and
E. L. Hahne, 1998.)

A client that has its share may still change one place for another: of those it took when it held
more than half of its share already, the oldest that is older than the table's *patience* can be
displaced.  So what is quick goes on beside what is slow, and as many slow ones as half a share are
never displaced.

``now`` is any clock that only goes forward, in seconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any

CLIENT_LENGTH = 64
"""Bits of an IPv6 address that tell clients apart: a host has all addresses of its /64."""
_V4_MAPPED = 0xFFFF


def client(address: int, length: int = CLIENT_LENGTH) -> int:
    """Return the number of the client at *address*, of 128 bits: IPv4 is at ::ffff:0:0/96.

    It is the same for all IPv6 addresses with the first *length* bits in common.
    """
    return address if address >> 32 == _V4_MAPPED else address >> (128 - length)


class Place:
    """One place of a table, *holder*'s of *client*, taken or last used *since*."""

    __slots__ = ("client", "holder", "is_spare", "since")

    def __init__(self, client: Hashable, holder: Any, since: float, *, is_spare: bool) -> None:
        self.client = client
        self.holder = holder
        self.since = since
        self.is_spare = is_spare


class _Held:
    """The places that a client holds: so many, of which those in *spare* were taken late."""

    __slots__ = ("count", "spare")

    def __init__(self) -> None:
        self.count = 0
        self.spare: dict[Place, None] = {}  # the oldest first


class Shares:
    """A table of *limit* places; *patience* in seconds, None where nothing is ever displaced."""

    def __init__(self, limit: int, patience: float | None = None) -> None:
        self.limit = limit
        self.patience = patience
        self._taken = 0
        self._clients: dict[Hashable, _Held] = {}

    def __len__(self) -> int:
        """Return how many places are taken."""
        return self._taken

    def held(self, client: Hashable) -> int:
        """Return how many places *client* holds."""
        found = self._clients.get(client)
        return found.count if found else 0

    def admits(self, client: Hashable) -> bool:
        """Return whether there is a place for *client*."""
        found = self._clients.get(client)
        return (found.count if found else 0) < self.limit - self._taken

    def equal_share(self, client: Hashable) -> float:
        """Return how many places each client would hold, *client* among them, if all held alike."""
        return self.limit / (len(self._clients) + (client not in self._clients))

    def enter(self, client: Hashable, holder: Any, now: float) -> Place:
        """Take a place for *client*, which `admits` must have been asked for."""
        found = self._clients.get(client)
        if found is None:
            found = self._clients[client] = _Held()
        is_spare = 2 * found.count >= self.limit - self._taken
        place = Place(client, holder, now, is_spare=is_spare)
        if is_spare:
            found.spare[place] = None
        found.count += 1
        self._taken += 1
        return place

    def use(self, place: Place, now: float) -> None:
        """Let *place* count as new."""
        place.since = now
        if place.is_spare:
            spare = self._clients[place.client].spare
            del spare[place]
            spare[place] = None

    def leave(self, place: Place) -> None:
        """Give *place* back."""
        found = self._clients[place.client]
        if place.is_spare:
            del found.spare[place]
        found.count -= 1
        self._taken -= 1
        if not found.count:
            del self._clients[place.client]

    def displaceable(self, client: Hashable, now: float) -> Place | None:
        """Return the place that *client* can do without for another, if there is one."""
        found = self._clients.get(client)
        if found is None or self.patience is None or not found.spare:
            return None
        oldest = next(iter(found.spare))
        return oldest if now - oldest.since >= self.patience else None
