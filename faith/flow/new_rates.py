"""The limits of new flows a second, of all clients and of each."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from faith.translation.reasons import CLIENT_RATE, TOTAL_RATE
from faith.translation.sketch import ALL, STAMPED, Pace, cells_of

if TYPE_CHECKING:
    from faith.flow.flow_settings import FlowSettings

_ONE = 0.999  # room that one more needs: a bucket that was full never leaks to zero
_SECOND = 1e9


class NewRates:
    """Counts new flows by the rates of *settings*."""

    def __init__(self, settings: FlowSettings) -> None:
        self._table = array("d", bytes(8 * STAMPED))
        self.limit(settings)

    def limit(self, settings: FlowSettings) -> None:
        """Apply the rates of other *settings* from now on; what has been counted stays so."""
        self._pace = Pace([self._table], 0, settings.burst)
        self._all = settings.rate * settings.burst
        self._each = settings.rate_per_client * settings.burst
        self.limited = bool(self._all or self._each)

    def refuses(self, share: int, now: int) -> str | None:
        """Return why one more flow of the client with the number *share* exceeds a rate, or None
        after counting it.  *now* is in ns."""
        seconds = now / _SECOND
        cells = cells_of(share.to_bytes(16, "big"))
        if self._each and self._pace.exceeds(cells, self._each - _ONE, seconds):
            return CLIENT_RATE
        if self._all and self._pace.exceeds(ALL, self._all - _ONE, seconds):
            return TOTAL_RATE
        self._pace.add(ALL + cells, seconds)
        return None
