"""Shares of a pool: who had how many of its addresses lent, as long as the leases last."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from faith.translation.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Hashable

    from faith.dns.pool import Lease, Pool
    from faith.translation.shares import Place


class LeaseShares:
    """The leases of *pool* by the clients that they were made for.

    Those that there are already, of which nobody knows that any more, are nobody's.  ``now`` is the
    pool's.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._shares = Shares(len(pool))
        self._places: dict[int, Place] = {}
        self._ends: list[tuple[float, int]] = []
        for lease in pool:
            self._enter(None, lease)

    def admits(self, client: Hashable, v6: int, now: float) -> bool:
        """Return whether *client* may have an address for *v6*.

        So may everybody where *v6* has one already, and who is nobody in particular (None).  When
        all are lent it is for the pool to say so.
        """
        self._expire(now)
        lease = self._pool.lent_to(v6)
        return (
            client is None
            or (lease is not None and lease.v4 in self._places)
            or len(self._shares) >= self._shares.limit
            or self._shares.admits(client)
        )

    def fill(self, now: float) -> tuple[int, int]:
        """Return how many addresses are lent, and how many there are."""
        self._expire(now)
        return self._shares.fill()

    def lent(self, client: Hashable, lease: Lease) -> None:
        """Take note of a lease that was made, or made longer, for *client*."""
        if lease.v4 not in self._places:
            self._enter(client, lease)

    def _enter(self, client: Hashable, lease: Lease) -> None:
        self._places[lease.v4] = self._shares.enter(client, lease.v4, lease.until)
        heapq.heappush(self._ends, (lease.until, lease.v4))

    def _expire(self, now: float) -> None:
        """Forget the leases that have ended, but not those that were made longer meanwhile."""
        ends = self._ends
        while ends and ends[0][0] <= now:
            _, v4 = heapq.heappop(ends)
            lease = self._pool.find(v4)
            if lease and lease.until > now:
                heapq.heappush(ends, (lease.until, v4))
            else:
                self._shares.leave(self._places.pop(v4))
