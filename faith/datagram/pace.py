"""Rate limits of datagrams, for one client and for all together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.shared_counters import shared
from faith.translation import shares
from faith.translation.reasons import CLIENT_PINGS, PINGS
from faith.translation.sketch import ALL, STAMPED, Pace, cells_of

if TYPE_CHECKING:
    from faith.translation.sketch import Cells

BURST = 1.0
"""Seconds' worth of a rate that may come in one burst."""

_ONE = 0.999  # room that one more event needs: a bucket that was full never leaks to zero


class Paces:
    """A limit of *rate* a second in all, and of *rate_per_client*; 0 for no limit.

    IPv6 addresses with the first *length* bits in common are one client.
    """

    def __init__(
        self, rate: float, rate_per_client: float, length: int = shares.CLIENT_LENGTH
    ) -> None:
        self._pace = Pace([shared("d", STAMPED)], 0, BURST)
        self.limit(rate, rate_per_client, length)

    def limit(
        self, rate: float, rate_per_client: float, length: int = shares.CLIENT_LENGTH
    ) -> None:
        """Replace the limits from now on."""
        self._length = length
        self._rate = rate * BURST
        self._rate_per_client = rate_per_client * BURST

    def refuses(self, address: int, now: float) -> str | None:
        """Return why one more datagram of *address* exceeds a limit, or None after counting it.

        The address has 128 bits: IPv4 is at ::ffff:0:0/96.
        """
        cells = cells_of(shares.client(address, self._length).to_bytes(16, "big"))
        if self._exceeds(cells, self._rate_per_client, now):
            return CLIENT_PINGS
        if self._exceeds(ALL, self._rate, now):
            return PINGS
        self._pace.add(ALL + cells, now)
        return None

    def _exceeds(self, cells: Cells, most: float, now: float) -> bool:
        return bool(most) and self._pace.exceeds(cells, most - _ONE, now)
