"""What the addresses of a pool stand for, in memory that all processes of a daemon share.

Who lends an address writes it here before anybody is told, so a connection to it finds its server
at once, in whatever process it comes to.  And who uses one writes that here, so nobody else gets
it meanwhile.  Nothing is locked: an address has one lender at a time, and a use is only a time.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING

from faith.kernel.shared.shared_memory import sealed

if TYPE_CHECKING:
    from collections.abc import Iterable

    Network = tuple[int, int]
    """An IPv4 address and a length."""

GRACE = 120.0
"""Seconds that an address keeps its meaning after it was used last."""

NOTHING = 0, 0.0
"""What an address stands for that was never lent, and until when."""

_HALF = (1 << 64) - 1
_WORD = _HALF
_MICRO = 1_000_000
_WORDS = 4  # how often it was written, odd meanwhile; the address, in two halves; until when
_OCTETS = 8 * _WORDS


class Leases:
    """The addresses of *networks*; in the memory behind *descriptor* if there is any already.

    Times are those of the monotonic clock, in seconds.
    """

    def __init__(self, networks: Iterable[Network], descriptor: int | None = None) -> None:
        self.networks = tuple(networks)
        self._starts: list[tuple[int, int, int]] = []
        size = 0
        for first, length in self.networks:
            count = 1 << 32 - length
            self._starts.append((first, first + count, size))
            size += count
        if descriptor is None:
            descriptor = sealed("faith-leases", size * _OCTETS)
        self._descriptor = descriptor
        self._words = memoryview(mmap.mmap(descriptor, size * _OCTETS)).cast("Q")

    def fileno(self) -> int:
        """The descriptor of the memory."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor; what is in memory can be used as before."""
        os.close(self._descriptor)

    def look(self, v4: int) -> tuple[int, float]:
        """What *v4* stands for, 0 for nothing, and until when at least."""
        at = self._at(v4)
        if at is None:
            return NOTHING
        words = self._words
        before = words[at]
        v6, until = words[at + 1] << 64 | words[at + 2], words[at + 3] / _MICRO
        if before % 2 or words[at] != before:
            return NOTHING  # in this moment it gets another meaning
        return v6, until

    def put(self, v4: int, v6: int, until: float) -> None:
        """Have *v4*, which is of the pool, stand for *v6* until then at least."""
        at = self._at(v4)
        assert at is not None
        words = self._words
        whole = words[at] % 2 == 0  # else its lender has died while it wrote
        if whole and words[at + 1] << 64 | words[at + 2] == v6:
            self._extend(at, until)
            return
        words[at] |= 1
        words[at + 1], words[at + 2] = v6 >> 64, v6 & _HALF
        words[at + 3] = int(until * _MICRO)
        words[at] = words[at] + 1 & _WORD

    def use(self, v4: int) -> int | None:
        """What *v4* stands for, and will for `GRACE` from now; None for nothing."""
        v6, _ = self.look(v4)
        if not v6:
            return None
        at = self._at(v4)
        assert at is not None
        self._extend(at, time.monotonic() + GRACE)
        return v6

    def _extend(self, at: int, until: float) -> None:
        micro = min(int(until * _MICRO), _WORD)
        if micro > self._words[at + 3]:
            self._words[at + 3] = micro

    def _at(self, v4: int) -> int | None:
        for first, end, before in self._starts:
            if first <= v4 < end:
                return (before + v4 - first) * _WORDS
        return None
