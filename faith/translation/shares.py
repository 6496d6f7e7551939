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


class Counts:
    """A table of *limit* places, by how many of them each client holds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        """How many places are taken."""
        self._held: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return self.taken

    def fill(self) -> tuple[int, int]:
        """Return how many places are taken, and how many there are."""
        return self.taken, self.limit

    def held(self, client: Hashable) -> int:
        """Return how many places *client* holds."""
        return self._held.get(client, 0)

    def admits(self, client: Hashable) -> bool:
        """Return whether there is a place for *client*."""
        return self._held.get(client, 0) < self.limit - self.taken

    def equal_share(self, client: Hashable) -> float:
        """Return how many places each client would hold, *client* among them, if all held alike."""
        return self.limit / (len(self._held) + (client not in self._held))

    def add(self, client: Hashable) -> None:
        """Take a place for *client*."""
        self._held[client] = self._held.get(client, 0) + 1
        self.taken += 1

    def remove(self, client: Hashable) -> None:
        """Give a place of *client* back."""
        self.taken -= 1
        left = self._held[client] - 1
        if left:
            self._held[client] = left
        else:
            del self._held[client]


class Place:
    """One place of a table, *holder*'s of *client*, taken or last used *since*."""

    __slots__ = ("client", "holder", "is_spare", "since")

    def __init__(self, client: Hashable, holder: Any, since: float, *, is_spare: bool) -> None:
        self.client = client
        self.holder = holder
        self.since = since
        self.is_spare = is_spare


class Shares(Counts):
    """A table of *limit* places; *patience* in seconds, None where nothing is ever displaced."""

    def __init__(self, limit: int, patience: float | None = None) -> None:
        super().__init__(limit)
        self.patience = patience
        self._spare: dict[Hashable, dict[Place, None]] = {}  # taken late, the oldest first

    def enter(self, client: Hashable, holder: Any, now: float) -> Place:
        """Take a place for *client*, which `admits` must have been asked for."""
        is_spare = 2 * self.held(client) >= self.limit - self.taken
        place = Place(client, holder, now, is_spare=is_spare)
        if is_spare:
            self._spare.setdefault(client, {})[place] = None
        self.add(client)
        return place

    def use(self, place: Place, now: float) -> None:
        """Let *place* count as new."""
        place.since = now
        if place.is_spare:
            spare = self._spare[place.client]
            del spare[place]
            spare[place] = None

    def leave(self, place: Place) -> None:
        """Give *place* back."""
        if place.is_spare:
            spare = self._spare[place.client]
            del spare[place]
            if not spare:
                del self._spare[place.client]
        self.remove(place.client)

    def displaceable(self, client: Hashable, now: float) -> Place | None:
        """Return the place that *client* can do without for another, if there is one."""
        spare = self._spare.get(client)
        if self.patience is None or not spare:
            return None
        oldest = next(iter(spare))
        return oldest if now - oldest.since >= self.patience else None
