"""The leases of pool addresses, in memory that all processes of a daemon share.

The name server writes a lease here before it answers, so a connection to the address finds its
server at once, in every process.  Whoever uses a lease extends it here, so that the address is
leased to nobody else meanwhile.  There is no lock: an address has one lender at a time, and its
expiry only grows.  An address that is leased to itself is withheld: it leads nowhere.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING

from faith.kernel.descriptor import Descriptor
from faith.kernel.shared.shared_memory import sealed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""

GRACE = 120.0
"""Seconds that a lease lasts after its last use."""

NOTHING = 0, 0.0
"""The lease of an address that has none: no host, expired."""

_HALF = (1 << 64) - 1
_WORD = _HALF
_MICRO = 1_000_000
_WORDS = 4  # write count, odd during a write; the IPv6 address, in two halves; the expiry
_OCTETS = 8 * _WORDS


class Leases:
    """The leases of the addresses of *networks*, in the memory behind *descriptor*.

    Times are seconds of the monotonic clock.
    """

    def __init__(self, descriptor: int, networks: tuple[Network, ...]) -> None:
        self.networks = networks
        self._starts: list[tuple[int, int, int]] = []
        size = 0
        for first, length in networks:
            count = 1 << 32 - length
            self._starts.append((first, first + count, size))
            size += count
        self._descriptor = descriptor
        self._words = memoryview(mmap.mmap(descriptor, size * _OCTETS)).cast("Q")

    @classmethod
    def create(cls, networks: Iterable[Network]) -> Self:
        """Make new memory, in which no address is leased."""
        networks = tuple(networks)
        addresses = sum(1 << 32 - length for _, length in networks)
        return cls(sealed("faith-leases", addresses * _OCTETS), networks)

    @classmethod
    def adopt(cls, state: int, networks: Iterable[Network]) -> Self:
        """Adopt the memory whose `state` the predecessor process left."""
        return cls(state, tuple(networks))

    def state(self) -> Descriptor:
        """Return the descriptor of the memory, for an upgrade."""
        return Descriptor(self._descriptor)

    def close(self) -> None:
        """Close the descriptor; the memory stays mapped and usable."""
        os.close(self._descriptor)

    def look(self, v4: int) -> tuple[int, float]:
        """Return the IPv6 address leased for *v4*, 0 for none, and the time at which it
        may expire."""
        at = self._at(v4)
        if at is None:
            return NOTHING
        words = self._words
        before = words[at]
        v6, until = words[at + 1] << 64 | words[at + 2], words[at + 3] / _MICRO
        if before % 2 or words[at] != before:
            return NOTHING  # a write is in progress
        return v6, until

    def put(self, v4: int, v6: int, until: float) -> None:
        """Lease *v4*, which is of the pool, to *v6* until that time at least.

        The time may lie before the clock began: an ended lease that an earlier start has left.
        """
        at = self._at(v4)
        assert at is not None
        words = self._words
        whole = words[at] % 2 == 0  # otherwise its lender died during a write
        if whole and words[at + 1] << 64 | words[at + 2] == v6:
            self._extend(at, until)
            return
        words[at] |= 1
        words[at + 1], words[at + 2] = v6 >> 64, v6 & _HALF
        words[at + 3] = _micro(until)
        words[at] = words[at] + 1 & _WORD

    def host(self, v4: int) -> int | None:
        """Return the IPv6 address leased for *v4*; None without a lease, or if it is withheld."""
        v6, _ = self.look(v4)
        return v6 if v6 not in (0, v4) else None

    def use(self, v4: int) -> int | None:
        """Return the IPv6 address leased for *v4* and extend the lease by `GRACE`; None without a
        lease."""
        v6 = self.host(v4)
        if v6 is None:
            return None
        at = self._at(v4)
        assert at is not None
        self._extend(at, time.monotonic() + GRACE)
        return v6

    def _extend(self, at: int, until: float) -> None:
        micro = _micro(until)
        if micro > self._words[at + 3]:
            self._words[at + 3] = micro

    def _at(self, v4: int) -> int | None:
        for first, end, before in self._starts:
            if first <= v4 < end:
                return (before + v4 - first) * _WORDS
        return None


def _micro(seconds: float) -> int:
    """A time as it stands in the memory, which has none below 0."""
    return max(0, int(seconds * _MICRO))
