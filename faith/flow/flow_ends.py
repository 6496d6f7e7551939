"""The ends of flows: recorded, and their ports at rest."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from faith.flow.flow_view import RECORDED, FlowView, why_closed
from faith.kernel.flow.layout import CLOSED
from faith.translation.reasons import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.flow.flow_counters import FlowCounters
    from faith.flow.flow_output import FlowOutput
    from faith.flow.flow_table import FlowTable
    from faith.flow.flow_view import FlowReports
    from faith.kernel.flow.layout import Slot

SETTLING = 500_000_000
"""Nanoseconds after a close until it is recorded: the last acknowledgements still count."""
_SECOND = 1_000_000_000
MOST_AT_ONCE = 256
"""Flows that end in one turn."""


class FlowEnds:
    """Records the ends of flows in *table*, and frees what they held."""

    def __init__(
        self, table: FlowTable, output: FlowOutput, counters: FlowCounters, reports: FlowReports
    ) -> None:
        self._table = table
        self._output = output
        self._counters = counters
        self._reports = reports
        self.closing: deque[tuple[int, int, int]] = deque()
        """Closed flows to be recorded: when, in ns, slot and generation."""
        self.learned: dict[int, tuple[int, str]] = {}
        """Ends foretold by ICMP errors for flows without an answer, by slot: generation and end."""

    def closed(self, number: int, generation: int, now: int) -> None:
        """Record the flow in a slot soon, which both sides or a reset have closed."""
        self.closing.append((now + SETTLING, number, generation))

    def finish(self, number: int) -> None:
        """Record a closed flow now, unless it is recorded."""
        slot = self._table.maps.read(number)
        if not slot.state & RECORDED:
            self._record(slot, why_closed(slot.state))
            self._table.close(number, slot)

    def end(self, numbers: Iterable[int], why: str, *, resets: bool = True) -> None:
        """End open flows: their next packets belong to no flow.

        With *resets* both ends of each are told at once.  One that is closed already is only
        recorded as what it is.
        """
        live = [n for n in numbers if self.is_open(n)]
        for slot in self._table.take_out(live) if live else ():
            is_closed = slot.state & CLOSED
            self._record(slot, why_closed(slot.state) if is_closed else why)
            if resets and not is_closed:
                self._output.reset_both(slot)

    def is_open(self, number: int) -> bool:
        """Return whether a slot is in use, and the end of its flow not yet recorded."""
        maps = self._table.maps
        return maps.generation_of(number) != 0 and not maps.state_of(number) & RECORDED

    def time_out(self, numbers: Iterable[int]) -> None:
        """End flows without an answer, for the reason that is known of each."""
        for number in numbers:
            generation, why = self.learned.pop(number, (0, TIMEOUT))
            if generation != self._table.maps.generation_of(number):
                why = TIMEOUT
            self.end([number], why, resets=False)

    def expire(self, now: int) -> bool:
        """Record closed flows that are due and free ports that have rested, a portion of each.

        Return whether there is more to do.
        """
        table, closing = self._table, self.closing
        for _ in range(MOST_AT_ONCE):
            if not closing or closing[0][0] > now:
                break
            _, number, generation = closing.popleft()
            if table.maps.generation_of(number) == generation:
                self.finish(number)
        since = now - int(table.settings.tcp_trans * _SECOND)
        rested = [*islice(table.ports.rested(since), MOST_AT_ONCE)]
        if rested:
            table.release([table.ports.holders[key] for key in rested])
        return len(rested) == MOST_AT_ONCE or bool(closing and closing[0][0] <= now)

    def _record(self, slot: Slot, why: str) -> None:
        view = FlowView(slot, time.monotonic_ns())
        self._counters.ended(why, view.sent, view.received)
        self._reports.ended(view, why)
