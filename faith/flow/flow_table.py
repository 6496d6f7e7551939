"""The table of flows: which slot has which keys, and whose share it is of."""

from __future__ import annotations

import random
import time
from array import array
from typing import TYPE_CHECKING

from faith.flow.flow_view import RECORDED
from faith.flow.half_open import HalfOpen
from faith.kernel.flow.layout import CLOSED, SYNACK
from faith.translation.address import from_packed
from faith.translation.flow_ports import FlowPorts
from faith.translation.reasons import CLIENT, CLIENT_SHARE, TOTAL
from faith.translation.shares import Counts, client

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from faith.flow.flow_settings import FlowSettings
    from faith.kernel.flow.flow_maps import FlowMaps
    from faith.kernel.flow.layout import Slot

_GENERATIONS = 0xFFFFFFFF
_LOT = 256
_ANOTHERS = -1
"""The holder of a key that belongs to a flow of other maps."""


class FlowTable:
    """The flows in the slots of *maps*, within the limits of *settings*; none before `restore`.

    A flow is open until its end is recorded; then its slot is kept while its port rests.  Open
    flows count to the limits.  No new flow has one of the keys *taken*: they belong to flows of
    other maps.
    """

    def __init__(
        self, maps: FlowMaps, settings: FlowSettings, taken: Collection[bytes] = ()
    ) -> None:
        self._taken = taken
        self.maps = maps
        self._settings = settings
        self._begin()

    def _begin(self) -> None:
        self.by_key6: dict[bytes, int] = {}
        self.ports = FlowPorts(random.randrange)
        for key4 in self._taken:
            self.ports.take(key4, _ANOTHERS)
        self.open = Counts(min(self._settings.limit, self.maps.slots))
        self.half_open = HalfOpen(self.maps, self._settings.half_open)
        self._generation = 0
        self._free = array("I", reversed(range(self.maps.slots)))

    def restore(self) -> list[int]:
        """Begin anew with what is in the maps; return the slots of closed flows without a record.

        A predecessor process has left it there.  It may have died before it had entered the keys of
        its last flows.
        """
        self._begin()
        closed: list[int] = []
        resting: list[tuple[int, bytes]] = []
        waiting: list[tuple[int, int, int]] = []
        used = self.maps.used()
        for number in used:
            slot = self.maps.read(number)
            key4 = slot.key4
            self.by_key6[slot.key6] = number
            self.ports.take(key4, number)
            self._generation = max(self._generation, slot.generation)
            if slot.state & RECORDED:
                resting.append((max(slot.from_client.last, slot.from_server.last), key4))
                continue
            self.open.add(self.share_of(slot))
            if slot.state & CLOSED:
                closed.append(number)
            elif not slot.state & SYNACK:
                waiting.append((number, slot.generation, slot.started))
        for last, key4 in sorted(resting):
            self.ports.rest(key4, last)
        self.half_open.restore(waiting)
        self._enter_again([number for number, _, _ in waiting])
        taken = set(used)
        self._free = array("I", (number for number in self._free if number not in taken))
        return closed

    def _enter_again(self, numbers: list[int]) -> None:
        for at in range(0, len(numbers), _LOT):
            slots = [(number, self.maps.read(number)) for number in numbers[at : at + _LOT]]
            self.maps.insert([(slot.key6, slot.key4, number) for number, slot in slots])

    @property
    def settings(self) -> FlowSettings:
        """The settings; others apply to new flows."""
        return self._settings

    @settings.setter
    def settings(self, settings: FlowSettings) -> None:
        before, self._settings = self._settings, settings
        self.open.limit = min(settings.limit, self.maps.slots)
        self.half_open.most = settings.half_open
        if settings.client_length != before.client_length:
            self._count_again()

    def _count_again(self) -> None:
        counted = Counts(self.open.limit)
        for number in self.by_key6.values():
            if not self.maps.state_of(number) & RECORDED:
                counted.add(self.share_of(self.maps.read(number)))
        self.open = counted

    def share_of(self, slot: Slot) -> int:
        """Return the number of the client of *slot*."""
        return client(from_packed(slot.client), self._settings.client_length)

    def refuses(self, share: int) -> str | None:
        """Return why a client with that number may have no further flow, or None."""
        counts, most = self.open, self._settings.flows_per_client
        if counts.taken >= counts.limit:
            return TOTAL
        if most and counts.held(share) >= most:
            return CLIENT
        return None if counts.admits(share) else CLIENT_SHARE

    def next_generation(self) -> int:
        """Return the generation of a new flow: never 0, and of no flow that is there."""
        self._generation = self._generation % _GENERATIONS + 1
        return self._generation

    def keep_generation(self, generation: int) -> None:
        """Go on behind *generation*, which a predecessor process has given last."""
        self._generation = max(self._generation, generation)

    @property
    def generation(self) -> int:
        """The generation of the newest flow."""
        return self._generation

    def place(self, key4: bytes) -> int:
        """Return a slot for a new flow with *key4*, -1 when none is free.

        A flow whose port rests makes room: the one that has this key, else the oldest.
        """
        holder = self.ports.holders.get(key4)
        if holder is not None:
            self.release([holder])
        elif not self._free:
            oldest = next(iter(self.ports.resting), None)
            if oldest is None:
                return -1
            self.release([self.ports.holders[oldest]])
        return self._free.pop()

    def add(self, number: int, key6: bytes, key4: bytes, share: int) -> None:
        """Have the flow with these keys in the slot *number*, which `place` returned."""
        self.by_key6[key6] = number
        self.ports.take(key4, number)
        self.open.add(share)

    def close(self, number: int, slot: Slot) -> None:
        """Let the port of a flow rest, whose end is recorded."""
        self.open.remove(self.share_of(slot))
        self.ports.rest(slot.key4, time.monotonic_ns())
        self.maps.mark(number, RECORDED)

    def reopen(self, key4: bytes, share: int) -> None:
        """Count the flow with *key4*, whose port rested, as open again."""
        self.ports.wake(key4)
        self.open.add(share)

    def release(self, numbers: Iterable[int]) -> None:
        """Remove flows from the kernel's tables, and free their slots.

        The caller has given the shares of open ones back.
        """
        freed = [*numbers]
        self._remove(freed)
        for number in freed:
            self.maps.clear(number)
        self._free.extend(freed)

    def take_out(self, numbers: list[int]) -> list[Slot]:
        """Remove open flows as `release` does; return their last states: no packet passes any
        more."""
        self._remove(numbers)
        slots = [self.maps.read(number) for number in numbers]
        for number, slot in zip(numbers, slots, strict=True):
            self.open.remove(self.share_of(slot))
            self.maps.clear(number)
        self._free.extend(numbers)
        return slots

    def _remove(self, numbers: list[int]) -> None:
        keys: list[tuple[bytes, bytes]] = []
        for number in numbers:
            key6, key4 = self.maps.keys_of(number)
            keys.append((key6, key4))
            del self.by_key6[key6]
            self.ports.give_back(key4)
        self.maps.remove(keys)
