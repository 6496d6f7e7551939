"""The sweep: flows that have been silent for too long, or have lasted long enough, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.flow.flow_view import CLIENT_RESET, RECORDED, SERVER_RESET
from faith.kernel.flow.layout import CLOSED, FIN4, FIN6, SUSPECT, SYNACK
from faith.translation.reasons import IDLE, IDLE_HALF_CLOSED, LIFETIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.flow.flow_ends import FlowEnds
    from faith.flow.flow_output import FlowOutput
    from faith.flow.flow_table import FlowTable

PORTION = 256
"""Flows that are looked at closely in one turn."""
_GLANCES = 4096
"""States that are looked at in one turn."""
_SECOND = 1_000_000_000


class Sweep:
    """Ends the flows of *table* whose time is over."""

    def __init__(self, table: FlowTable, ends: FlowEnds, output: FlowOutput) -> None:
        self._table = table
        self._ends = ends
        self._output = output
        self._probed: dict[int, int] = {}  # by slot, the generation

    def half_open(self, now: int) -> Iterator[None]:
        """End flows without an answer, a portion in each step; *now* is in ns."""
        settings = self._table.settings
        gone = self._table.half_open.expired(now - int(settings.tcp_syn * _SECOND))
        for at in range(0, len(gone), PORTION):
            self._ends.time_out(gone[at : at + PORTION])
            yield

    def silent(self, now: int) -> Iterator[None]:
        """End silent flows and old ones, a portion in each step (RFC 6146 §3.5.2.2)."""
        settings, maps = self._table.settings, self._table.maps
        trans, est = int(settings.tcp_trans * _SECOND), int(settings.tcp_est * _SECOND)
        quiet = maps.silent(now - trans)
        yield
        for at in range(0, len(quiet), _GLANCES):
            some = [n for n in quiet[at : at + _GLANCES] if self._is_over(n)]
            for start in range(0, len(some), PORTION):
                for number in some[start : start + PORTION]:
                    self._end_quiet(number)
                yield
            yield
        yield from self._idle(now - est, now - est - trans)
        if settings.lifetime:
            yield from self._old(now - int(settings.lifetime * _SECOND))

    def _is_over(self, number: int) -> bool:
        """Return whether a quiet flow is over: after a reset that might have been forged, or
        closed, where the event of that was lost."""
        state = self._table.maps.state_of(number)
        return bool(state & (SUSPECT | CLOSED)) and not state & RECORDED

    def _end_quiet(self, number: int) -> None:
        slot = self._table.maps.read(number)
        if slot.state & CLOSED:
            self._ends.finish(number)
        else:
            by_client = slot.from_client.last >= slot.from_server.last
            self._ends.end([number], CLIENT_RESET if by_client else SERVER_RESET, resets=False)

    def _idle(self, since: int, probed_since: int) -> Iterator[None]:
        """Probe the clients of flows idle *since* then, and end those that gave no answer."""
        maps, probed = self._table.maps, self._probed
        idle = maps.silent(since)
        over = frozenset(maps.silent(probed_since)) if idle else frozenset()
        self._probed = {}
        for at in range(0, len(idle), PORTION):
            for number in idle[at : at + PORTION]:
                generation = maps.generation_of(number)
                is_probed = probed.get(number) == generation
                if is_probed:
                    self._probed[number] = generation
                if not is_probed or number in over:
                    self._end_idle(number, is_probed=is_probed)
            yield

    def _end_idle(self, number: int, *, is_probed: bool) -> None:
        """End an idle flow; an established one whose client has not been probed is probed."""
        slot = self._table.maps.read(number)
        if slot.state & (CLOSED | RECORDED) or not slot.state & SYNACK:
            return
        if slot.state & (FIN6 | FIN4):
            self._ends.end([number], IDLE_HALF_CLOSED)
        elif is_probed:
            self._ends.end([number], IDLE)
        else:
            self._output.probe(slot)
            self._probed[number] = slot.generation

    def _old(self, before: int) -> Iterator[None]:
        used = self._table.maps.used()
        for at in range(0, len(used), PORTION):
            for number in used[at : at + PORTION]:
                slot = self._table.maps.read(number)
                if 0 < slot.started < before and not slot.state & (CLOSED | RECORDED):
                    self._ends.end([number], LIFETIME)
            yield
