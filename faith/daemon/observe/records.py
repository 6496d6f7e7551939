"""The selection of session records: a carrier's log must be small and discreet."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.translation.reasons import CLOSED

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.tcp.record import Record

log = logging.getLogger("faith.relay")


@dataclass(frozen=True)
class Recording:
    """Settings of session records.

    Of sessions that ended well one in *sample* is recorded, of others every one (RFC 7269 §5.1).
    Without *destinations* records do not contain where clients went (RFC 6888 REQ-12).  *refusals*
    is how many with the same reason a worker records in a second; 0 for all.
    """

    sample: int = 1
    destinations: bool = True
    refusals: int = 20


class Records:
    """A filter of records: passes those that *recording* selects on to *write*.

    Refusals that are left out are counted, and the count is logged a second later.  *recording* may
    change.
    """

    def __init__(
        self, loop: AbstractEventLoop, recording: Recording, write: Callable[[Record], None]
    ) -> None:
        self._loop = loop
        self.recording = recording
        self._write = write
        self._good = 0
        self._refused: Counter[str] = Counter()  # in the current second, by reason

    def __call__(self, record: Record) -> None:
        """Write *record* if it is selected."""
        if record.end == CLOSED:
            self._good += 1
            if self._good % self.recording.sample:
                return
        elif record.server is None and not self._is_worth_it(record.end):
            return
        record.discreet = not self.recording.destinations
        self._write(record)

    def _is_worth_it(self, why: str) -> bool:
        most = self.recording.refusals
        if not most:
            return True
        if not self._refused:
            self._loop.call_later(1.0, self.sum_up)
        self._refused[why] += 1
        return self._refused[why] <= most

    def sum_up(self) -> None:
        """Log how many refusals were left out in the last second."""
        refused, self._refused = self._refused, Counter()
        for why, count in refused.items():
            left_out = count - self.recording.refusals
            if left_out > 0:
                log.warning("%d more connections were refused: %s", left_out, why)
