"""Quantiles of the time that dialling takes: of all connections, and of the last minute or so."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from faith.daemon.observe.status_report import Dialling
from faith.relay.tcp import relay_counters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.kernel.shared.shared_counters import Area

STEP, WINDOW = 10.0, 60.0
"""Seconds from one snapshot to the next, and those that "recent" stands for."""

_LAYOUT, _DIAL = relay_counters.LAYOUT, relay_counters.DIAL
_BUCKETS = range(_LAYOUT.start(_DIAL), _LAYOUT.start(_DIAL) + len(_DIAL.bounds) + 1)


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """Return the value below which *part*, from 0 to 1, of the counted ones are; None without any.

    *counts* are those of the buckets below *bounds*, in ascending order, and one of what is above
    them all.  Values are taken as evenly spread in their bucket, and those above all bounds as the
    last of these, as Prometheus' histogram_quantile() has it.
    """
    wanted = part * sum(counts)
    if not wanted:
        return None
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and wanted <= count:
            return lower + (bound - lower) * wanted / count
        wanted -= count
        lower = bound
    return bounds[-1]


class DialHistory:
    """The dial times counted in *area*, by all processes, now and within the last `WINDOW`."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self._snapshots: deque[tuple[float, list[int]]] = deque()

    def note(self, now: float) -> None:
        """Take a snapshot at the monotonic time *now*, if the last one is old enough."""
        snapshots = self._snapshots
        if snapshots and now - snapshots[-1][0] < STEP:
            return
        while snapshots and now - snapshots[0][0] > WINDOW:
            snapshots.popleft()
        snapshots.append((now, self._counts()))

    def report(self) -> Dialling:
        """Return the quantiles up to this moment."""
        counts = self._counts()
        before = self._snapshots[0][1] if self._snapshots else counts
        recent = [max(0, now - then) for now, then in zip(counts, before, strict=True)]
        return Dialling(
            sum(counts),
            *(_quantile(counts, part) for part in (0.5, 0.95)),
            *(_quantile(recent, part) for part in (0.5, 0.95)),
        )

    def _counts(self) -> list[int]:
        return [self._area.total(_LAYOUT, cell) for cell in _BUCKETS]


def _quantile(counts: Sequence[int], part: float) -> float | None:
    return quantile(_DIAL.bounds, counts, part)
