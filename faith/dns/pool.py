"""IPv4 addresses lent to IPv6 servers, so that IPv4 clients can ask for them by name (RFC 2766 §4).

An A record that stands for an AAAA record needs an address, and the address must mean the same
server for as long as anybody may use it: for the life of the record, for what clients do with it
after that, and for every session made meanwhile.

``now`` is any clock that only goes forward, in seconds; addresses are integers.
"""

from __future__ import annotations

import heapq
import math
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import TYPE_CHECKING

from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Network = tuple[int, int]
    """A 32-bit address and a length."""

GRACE = 120.0
"""Seconds that a lease outlives its record, or its last session."""
FORM = "faith-pool 1"
"""The first line of the text that leases are kept in."""


class Lease:
    """*v4* means *v6* until *until* at least, and while any of its *sessions* is open."""

    __slots__ = ("sessions", "until", "v4", "v6")

    def __init__(self, v4: int, v6: int, until: float) -> None:
        self.v4 = v4
        self.v6 = v6
        self.until = until
        self.sessions = 0

    def left(self, now: float) -> float:
        """Seconds that it is promised for; negative since its end."""
        return max(self.until - now, GRACE) if self.sessions else self.until - now

    def line(self, now: float) -> str:
        """The two addresses and the seconds left, no fewer than there are."""
        left = math.ceil(self.left(now) * 1000) / 1000
        return f"{IPv4Address(self.v4)} {IPv6Address(self.v6)} {left:.3f}"


class Pool:
    """The addresses of *networks*.

    What has been lent once keeps its meaning until its address is needed for another server; of
    the addresses that may be taken then, it is the one whose lease ended first.  *told* is called
    with every lease that is made or runs longer than before, and `now`, before `lend` returns it.
    """

    def __init__(
        self, networks: Iterable[Network], told: Callable[[Lease, float], object] | None = None
    ) -> None:
        self._spans = [hosts(*network) for network in networks]
        self._never_lent: Iterator[int] = chain.from_iterable(self._spans)
        self._by_v4: dict[int, Lease] = {}
        self._by_v6: dict[int, Lease] = {}
        # Every lease without sessions is in here once, by a time that it does not end before.
        self._ends: list[tuple[float, int]] = []
        self.told = told

    def __len__(self) -> int:
        """How many addresses there are."""
        return sum(map(len, self._spans))

    def __contains__(self, v4: int) -> bool:
        return any(v4 in span for span in self._spans)

    def __iter__(self) -> Iterator[Lease]:
        """All leases, ended ones too, in no order."""
        return iter(self._by_v4.values())

    def lend(self, v6: int, seconds: float, now: float) -> Lease | None:
        """The lease of an address that may be told as *v6*'s for *seconds* from now.

        It is the same as before if there is one.  None when every address is in use.
        """
        until = now + seconds + GRACE
        lease = self._by_v6.get(v6)
        if lease:
            return self._extend(lease, until, now)
        v4 = self._free(now)
        return None if v4 is None else self._tell(self._enter(Lease(v4, v6, until)), now)

    def find(self, v4: int) -> Lease | None:
        """What *v4* stands for; None for an address that was never lent."""
        return self._by_v4.get(v4)

    def opened(self, v4: int) -> None:
        """Take note of a session with *v4*, which has a meaning: it keeps that."""
        self._by_v4[v4].sessions += 1

    def closed(self, v4: int, now: float) -> None:
        """Take note of its end."""
        lease = self._by_v4[v4]
        lease.sessions -= 1
        self._extend(lease, now + GRACE, now)

    def _enter(self, lease: Lease) -> Lease:
        self._by_v4[lease.v4] = self._by_v6[lease.v6] = lease
        heapq.heappush(self._ends, (lease.until, lease.v4))
        return lease

    def _extend(self, lease: Lease, until: float, now: float) -> Lease:
        """Let *lease* run until then, unless it runs longer already."""
        if until > lease.until:
            lease.until = until
            self._tell(lease, now)
        return lease

    def _tell(self, lease: Lease, now: float) -> Lease:
        if self.told:
            self.told(lease, now)
        return lease

    def _free(self, now: float) -> int | None:
        """An address for another server, without a meaning."""
        for v4 in self._never_lent:
            if v4 not in self._by_v4:
                return v4
        while self._ends and self._ends[0][0] <= now:
            end, v4 = self._ends[0]
            lease = self._by_v4[v4]
            until = max(lease.until, now + GRACE) if lease.sessions else lease.until
            if until == end:
                heapq.heappop(self._ends)
                del self._by_v4[v4], self._by_v6[lease.v6]
                return v4
            heapq.heapreplace(self._ends, (until, v4))
        return None

    # -- across restarts ---------------------------------------------------------------------

    def dumps(self, now: float) -> str:
        """All leases as text: a line that names the form, then one for each.

        Those with open sessions get what they would get at the end of these.
        """
        return "".join(f"{line}\n" for line in (FORM, *(lease.line(now) for lease in self)))

    @classmethod
    def loads(cls, text: str, networks: Iterable[Network], now: float) -> Pool:
        """The pool of *networks* with the leases in *text*, as far as their addresses are in these.

        Time that has passed in between does not count.  Of two lines that contradict each other
        the first is right.  Raises FaithError for any other text.
        """
        pool = cls(networks)
        first, *lines = text.splitlines() or [""]
        if first.rstrip() != FORM:
            raise FaithError(f"leases begin with {first[:40]!r}, not with {FORM!r}")
        for number, line in enumerate(lines, 2):
            if line.strip():
                pool._take(_read(line, number, now))
        return pool

    def _take(self, lease: Lease) -> None:
        if lease.v4 in self and lease.v4 not in self._by_v4 and lease.v6 not in self._by_v6:
            self._enter(lease)


def hosts(network: int, length: int) -> range:
    """The addresses of a network, but for its first and last, which some hosts take for special."""
    size = 1 << (32 - length)
    edge = 1 if size > 2 else 0
    return range(network + edge, network + size - edge)


def _read(line: str, number: int, now: float) -> Lease:
    try:
        v4, v6, left = line.split()
        until = now + float(left)
        if not math.isfinite(until):
            raise ValueError(f"{left} is no time")
        return Lease(int(IPv4Address(v4)), int(IPv6Address(v6)), until)
    except ValueError as error:
        raise FaithError(f"line {number} of the leases cannot be read: {error}") from None
