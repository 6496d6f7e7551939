"""The kinds and sizes of the maps of flows, and the counters: what flow.bpf.c declares of them."""

from __future__ import annotations

import struct
from functools import cache

from faith.kernel import text_file
from faith.kernel.bpf.bpf import (
    MAP_ARRAY,
    MAP_HASH,
    MAP_LPM_TRIE,
    MAP_LRU_HASH,
    MAP_RING,
    MMAPABLE,
    NO_PREALLOC,
)
from faith.kernel.flow import layout

COUNTERS = (
    "forwarded_v6",
    "forwarded_v4",
    "upcalls",
    "limited_client",
    "limited_total",
    "unattended",
    "ring_full",
    "icmp",
    "icmp_limited",
    "too_big",
    "hop_limit",
    "fragments",
    "suspect",
    "failed",
)
"""The counters in the order in which the program has them: packets translated from either side;
SYNs tagged, dropped by the limit of a client or of all, and left alone because nobody attends;
events lost for want of room; events about ICMP errors, and those of any kind that their limit
suppressed; packets too big or without hops left; fragmented datagrams of flows, left to the stack;
RSTs that may be forged; packets that could not be translated or sent."""

MOST_COUNTERS = 16
"""The counters of a CPU, spare ones included."""
RING = 1 << 20
"""The octets of the ring: room for 32,768 flows that are closed."""
PREFIX = struct.Struct("=I16s")
"""A key of the prefixes: length and address."""
PORT_WORDS = 1 << 10
"""The words of 64 bits that have a bit for each port."""
MASK = 80
"""The offset in the settings of the mask that makes a client of an address."""

_CLIENTS = 1 << 14
_MOST_PREFIXES = 1 << 18


def kinds(slots: int) -> dict[str, tuple[int, int, int, int, int]]:
    """Return kind, octets of a key and of a value, entries and flags of each map, by its name in
    flow.bpf.c."""
    return {
        "flows6": (MAP_HASH, layout.KEY6, 4, slots, 0),
        "flows4": (MAP_HASH, layout.KEY4, 4, slots, 0),
        "slots": (MAP_ARRAY, 4, layout.SLOT.size, slots, MMAPABLE),
        "settings": (MAP_ARRAY, 4, MASK + 16, 1, MMAPABLE),
        "clients": (MAP_LRU_HASH, 16, 8, _CLIENTS, 0),
        "prefixes": (MAP_LPM_TRIE, PREFIX.size, 4, _MOST_PREFIXES, NO_PREALLOC),
        "ports": (MAP_ARRAY, 4, 8, PORT_WORDS, MMAPABLE),
        "ring": (MAP_RING, 0, 0, RING, 0),
        "counters": (MAP_ARRAY, 4, 8 * MOST_COUNTERS, _cpus(), MMAPABLE),
    }


@cache
def _cpus() -> int:
    """Return how many numbers CPUs may have (``0-7``, ``0,2-3``)."""
    text = text_file.read_leniently("/sys/devices/system/cpu/possible")
    return int(text.strip().replace(",", "-").split("-")[-1]) + 1
