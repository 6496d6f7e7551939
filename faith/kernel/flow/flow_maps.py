"""The maps that the program of flows and the process that decides about flows share.

Their creation needs CAP_BPF; everything else works by their descriptors without any capability
(Linux 5.19, or kernel.unprivileged_bpf_disabled=0).  The slots, the settings, the ports and the
counters are mapped memory: access to them makes no system call.
"""

from __future__ import annotations

import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.kernel.bpf.bpf import Map
from faith.kernel.flow import layout
from faith.kernel.flow.event_ring import EventRing
from faith.kernel.flow.layout import LAYOUT, SLOT, Event, Side, Slot
from faith.kernel.flow.map_kinds import (
    COUNTERS,
    MASK,
    MOST_COUNTERS,
    PORT_WORDS,
    PREFIX,
    RING,
    kinds,
)
from faith.kernel.shared.shared_memory import Mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from faith.translation.ports import Ports

_SECOND = 1_000_000_000
_VALUE = struct.Struct("=I")

# Words of 64 bits in the settings, `struct config` of flow.bpf.c.
_LAYOUT, _ALIVE, _CLIENT_INTERVAL, _CLIENT_BURST, _INTERVAL, _BURST, _ = range(7)
_EVENT_INTERVAL, _EVENT_BURST = 7, 8
_EVENTS_A_SECOND, _EVENTS_AT_ONCE = 1000, 100


class FlowMaps:
    """The maps of at most *slots* flows.  Methods that change tables raise OSError.

    A flow is a slot and its keys in two tables: write the slot, then `insert` the keys.
    """

    def __init__(self, slots: int, maps: dict[str, Map]) -> None:
        self.slots = slots
        self.maps = maps
        with ExitStack() as undo:
            self._ring = undo.enter_context(EventRing(maps["ring"], RING))
            self._mapped: list[Mapped] = []
            undo.callback(self._unmap)
            self._memory = self._map("slots")
            self._words = self._memory.cast("Q")
            self._settings = self._map("settings")
            self._ports = self._map("ports").cast("Q")
            self._counters = self._map("counters").cast("Q")
            undo.pop_all()

    def _map(self, name: str) -> memoryview:
        _, _, size, entries, _ = kinds(self.slots)[name]
        self._mapped.append(Mapped(self.maps[name].fd, size * entries))
        return self._mapped[-1].view()

    def _unmap(self) -> None:
        for mapped in self._mapped:
            mapped.close()

    @classmethod
    def create(cls, slots: int) -> Self:
        """Make empty maps.  Raises OSError: EPERM without CAP_BPF."""
        maps: dict[str, Map] = {}
        try:
            for name, (kind, key, value, entries, flags) in kinds(slots).items():
                maps[name] = Map.create(
                    kind, f"faith_{name}", key=key, value=value, entries=entries, flags=flags
                )
            created = cls(slots, maps)
        except OSError:
            for each in maps.values():
                each.close()
            raise
        settings = created._settings.cast("Q")
        settings[_LAYOUT] = LAYOUT
        settings[_EVENT_INTERVAL] = _SECOND // _EVENTS_A_SECOND
        settings[_EVENT_BURST] = _SECOND // _EVENTS_A_SECOND * _EVENTS_AT_ONCE
        return created

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the maps whose `state` another process left.

        Raises ValueError for maps of another LAYOUT.
        """
        layout.check(state["layout"])
        return cls(state["slots"], {name: Map.adopt(fd) for name, fd in state["maps"].items()})

    @classmethod
    def from_pins(cls, get: Callable[[str], int]) -> Self:
        """Open the maps by *get*, which returns the descriptor of a map by its name.

        Raises OSError, and ValueError for maps of another LAYOUT.
        """
        maps: dict[str, Map] = {}
        try:
            for name in kinds(1):
                maps[name] = Map(get(name))
            with Mapped(maps["settings"].fd, MASK + 16) as mapped:
                found = mapped.view().cast("Q")[_LAYOUT]
            layout.check(found)
            return cls(maps["slots"].entries(), maps)
        except (OSError, ValueError):
            for each in maps.values():
                each.close()
            raise

    def state(self) -> Any:
        """Return the state that another process adopts, fit for JSON."""
        maps = {name: each.state() for name, each in self.maps.items()}
        return {"layout": LAYOUT, "slots": self.slots, "maps": maps}

    def close(self) -> None:
        """Close the descriptors; the maps last while another process or a program has them.

        A second call does nothing.
        """
        self._words = self._memory = self._settings = memoryview(b"")
        self._ports = self._counters = memoryview(b"")
        self._unmap()
        self._ring.close()
        for each in self.maps.values():
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- slots -----------------------------------------------------------------------------------

    def read(self, number: int) -> Slot:
        """Return a slot."""
        return layout.read_slot(self._memory, number * SLOT.size)

    def keys_of(self, number: int) -> tuple[bytes, bytes]:
        """Return the keys, `layout.key6` and `layout.key4`, of a slot."""
        return layout.read_keys(self._memory, number * SLOT.size)

    def write(self, number: int, slot: Slot) -> None:
        """Write a slot, whose keys must not be in the tables yet."""
        layout.write_slot(self._memory, number * SLOT.size, slot)

    def clear(self, number: int) -> None:
        """Make a slot free, whose keys must not be in the tables any more."""
        at = number * SLOT.size
        self._memory[at : at + SLOT.size] = bytes(SLOT.size)

    def state_of(self, number: int) -> int:
        """Return the state of a slot."""
        return self._number(number * SLOT.size + layout.STATE)

    def generation_of(self, number: int) -> int:
        """Return the generation of a slot."""
        return self._number(number * SLOT.size + layout.GENERATION)

    def _number(self, at: int) -> int:
        found: int = _VALUE.unpack_from(self._memory, at)[0]
        return found

    def clear_state(self, number: int, generation: int, started: int, after_syn: int) -> None:
        """Begin a new *generation* in a slot whose keys stay in the tables.

        *after_syn* is the sequence number after the client's new SYN.
        """
        at = number * SLOT.size
        client, server = Side(next=after_syn, last=started), Side()
        layout.SIDE.pack_into(self._memory, at + layout.CLIENT, *client)
        layout.SIDE.pack_into(self._memory, at + layout.SERVER, *server)
        # the state comes last: from then on the program follows the new session
        struct.pack_into("=IQ", self._memory, at + layout.GENERATION, generation, started)
        _VALUE.pack_into(self._memory, at + layout.STATE, 0)

    def mark(self, number: int, bits: int) -> None:
        """Set *bits* in the state of a slot that no packets are expected for any more."""
        at = number * SLOT.size + layout.STATE
        _VALUE.pack_into(self._memory, at, self._number(at) | bits)

    def arrived(self, number: int, side: int, found: Side) -> None:
        """Write what has arrived from a *side*, layout.CLIENT or layout.SERVER, of a flow.

        For packets that another translates than the program, which writes there too: what passes
        it in the same instant may be lost from the counts.
        """
        layout.SIDE.pack_into(self._memory, number * SLOT.size + side, *found)

    def reroute(
        self, number: int, oif4: int, oif6: int, mtu4: int, mtu6: int, mss4: int, mss6: int
    ) -> None:
        """Change the ways of a flow, while packets pass."""
        at = number * SLOT.size
        sizes = (min(size, layout.MOST_MTU) for size in (mtu4, mtu6, mss4, mss6))
        struct.pack_into("=4H", self._memory, at + layout.SIZES, *sizes)
        struct.pack_into("=2I", self._memory, at + layout.OIF, oif4, oif6)

    def used(self) -> list[int]:
        """Return the numbers of the slots in use."""
        started = self._words[layout.STARTED // 8 :: SLOT.size // 8].tolist()
        return [number for number, since in enumerate(started) if since]

    def open(self) -> int:
        """Return how many slots in use have a flow that is not CLOSED."""
        step = SLOT.size
        states = self._memory.cast("I")[layout.STATE // 4 :: step // 4].tolist()
        started = self._words[layout.STARTED // 8 :: step // 8].tolist()
        return sum(
            1
            for state, since in zip(states, started, strict=True)
            if since and not state & layout.CLOSED
        )

    def silent(self, before: int) -> list[int]:
        """Return the numbers of the slots in use in which nothing arrived since *before*, in ns of
        CLOCK_MONOTONIC."""
        step = SLOT.size // 8
        client = (layout.CLIENT + layout.LAST) // 8
        server = (layout.SERVER + layout.LAST) // 8
        words = self._words
        # a slot in use has the time of the client's SYN there, a free one has 0
        some = words[client::step].tolist()
        return [
            number
            for number, last in enumerate(some)
            if 0 < last < before and words[number * step + server] < before
        ]

    # -- tables ----------------------------------------------------------------------------------

    def insert(self, flows: list[tuple[bytes, bytes, int]]) -> None:
        """Enter the slots of *flows*, ``(key6, key4, number)``, into both tables.

        When that fails, none of them is left there.
        """
        try:
            # the server's answers must find their flow as soon as the client's packets do
            self.maps["flows4"].update_all({key: _VALUE.pack(to) for _, key, to in flows})
            self.maps["flows6"].update_all({key: _VALUE.pack(to) for key, _, to in flows})
        except OSError:
            self.remove([(first, second) for first, second, _ in flows])
            raise

    def remove(self, flows: list[tuple[bytes, bytes]]) -> None:
        """Remove *flows*, ``(key6, key4)``, from both tables; keys not there are passed over."""
        self.maps["flows6"].delete_all([first for first, _ in flows])
        self.maps["flows4"].delete_all([second for _, second in flows])

    def set_prefixes(self, prefixes: Iterable[tuple[int, int]]) -> None:
        """Serve exactly the networks *prefixes*, each an IPv6 address and a length.

        A prefix that stays is served throughout.
        """
        networks = self.maps["prefixes"]
        before = set(networks.keys(PREFIX.size))
        wanted = {
            PREFIX.pack(length, address.to_bytes(16, "big")): _VALUE.pack(1)
            for address, length in prefixes
        }
        networks.update_all(wanted)
        networks.delete_all(list(before - wanted.keys()))

    # -- settings --------------------------------------------------------------------------------

    def set_ports(self, ports: Ports) -> None:
        """Serve exactly the destination *ports*."""
        words = [0] * PORT_WORDS
        for port in ports:
            words[port >> 6] |= 1 << (port & 63)
        for number, word in enumerate(words):
            self._ports[number] = word

    def heartbeat(self, until: int) -> None:
        """Have SYNs be tagged until *until*, in ns of CLOCK_MONOTONIC."""
        self._settings.cast("Q")[_ALIVE] = until

    def configure(
        self,
        *,
        client_rate: float,
        client_burst: int,
        rate: float,
        burst: int,
        client_length: int,
    ) -> None:
        """Limit the SYNs a second, and those at once, of each client and of all.

        A client is the first *client_length* bits of an IPv6 address.  A rate of 0 is no limit.
        """
        mask = (1 << 128) - (1 << 128 - client_length)
        self._settings[MASK : MASK + 16] = mask.to_bytes(16, "big")
        words = self._settings.cast("Q")
        words[_CLIENT_INTERVAL], words[_CLIENT_BURST] = _pace(client_rate, client_burst)
        words[_INTERVAL], words[_BURST] = _pace(rate, burst)

    # -- what the program reports ----------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Return the counters, since the maps were made, by the names in COUNTERS."""
        words = self._counters
        return {name: sum(words[at::MOST_COUNTERS]) for at, name in enumerate(COUNTERS)}

    def events(self, most: int) -> list[Event]:
        """Consume at most *most* events and return them, oldest first."""
        return [layout.read_event(record) for record in self._ring.read(most)]

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are events."""
        return self._ring.fileno()


def _pace(rate: float, burst: int) -> tuple[int, int]:
    """Return the ns between two SYNs, and the ns of which a burst may be ahead."""
    interval = int(_SECOND / rate) if rate else 0
    return interval, interval * (max(burst, 1) - 1)
