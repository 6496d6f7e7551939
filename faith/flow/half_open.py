"""Flows that wait for their server's answer: bounded in number and in time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from faith.kernel.flow.layout import CLOSED, SYNACK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.kernel.flow.flow_maps import FlowMaps

_SLACK = 8
"""The part of the bound, 1/8, of new flows after which all are looked at again."""


class HalfOpen:
    """The flows of *maps* that may be half-open, the oldest first; *most* of them really are.

    The program does not report answers: flows are looked at when there seem to be too many.
    """

    def __init__(self, maps: FlowMaps, most: int) -> None:
        self._maps = maps
        self.most = most
        self._flows: deque[tuple[int, int, int]] = deque()  # slot, generation, started
        self._new = 0  # since all were looked at

    def __len__(self) -> int:
        return len(self._flows)

    def restore(self, flows: Iterable[tuple[int, int, int]]) -> None:
        """Begin anew with *flows*: slot, generation and time of the beginning in ns."""
        self._flows = deque(sorted(flows, key=lambda flow: flow[2]))
        self._new = 0

    def add(self, number: int, generation: int, now: int) -> int:
        """Add the flow in a slot, and return the slot of the one that must go for it, or -1."""
        self._flows.append((number, generation, now))
        self._new += 1
        if len(self._flows) <= self.most:
            return -1
        if self._new * _SLACK >= self.most:
            self._new = 0
            self._flows = deque(flow for flow in self._flows if self._waits(flow))
        while len(self._flows) > self.most:
            flow = self._flows.popleft()
            if self._waits(flow):
                return flow[0]
        return -1

    def expired(self, before: int) -> list[int]:
        """Remove and return the slots of flows whose client has sent no SYN since *before*, in
        ns."""
        kept: deque[tuple[int, int, int]] = deque()
        gone: list[int] = []
        for flow in self._flows:
            if not self._waits(flow):
                continue
            number, _, started = flow
            if started < before and self._maps.read(number).from_client.last < before:
                gone.append(number)
            else:
                kept.append(flow)
        self._flows, self._new = kept, 0
        return gone

    def _waits(self, flow: tuple[int, int, int]) -> bool:
        number, generation, _ = flow
        maps = self._maps
        return maps.generation_of(number) == generation and not maps.state_of(number) & (
            SYNACK | CLOSED
        )
