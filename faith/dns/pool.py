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
from faith.translation.address import text4, text6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Network = tuple[int, int]
    """A 32-bit address and a length."""

GRACE = 120.0
"""Seconds that a lease outlives its record."""
FORM = "faith-pool 1"
"""The first line of the text that leases are kept in."""


class Lease:
    """*v4* means *v6* until *until* at least.

    Where both are the same number *v4* is withheld: it means nothing, and is lent to nobody.
    """

    __slots__ = ("until", "v4", "v6")

    def __init__(self, v4: int, v6: int, until: float) -> None:
        self.v4 = v4
        self.v6 = v6
        self.until = until

    @property
    def is_withheld(self) -> bool:
        """Return whether another gateway may have lent the address."""
        return self.v4 == self.v6

    def left(self, now: float) -> float:
        """Seconds that it is promised for; negative since its end."""
        return self.until - now

    def line(self, now: float) -> str:
        """The two addresses and the seconds left, no fewer than there are."""
        left = math.ceil(self.left(now) * 1000) / 1000
        return f"{text4(self.v4)} {text6(self.v6)} {left:.3f}"


class Pool:
    """The addresses of *networks*.

    What has been lent once keeps its meaning until its address is needed for another server; of
    the addresses that may be taken then, it is the one whose lease ended first.  *told* is called
    with every lease that is made or runs longer than before, and `now`, before `lend` returns it.
    *known* says what an address stands for by what others know, 0 for nothing, and until when: they
    may have used it, or lent it, and then it is theirs to say.
    """

    def __init__(
        self,
        networks: Iterable[Network],
        told: Callable[[Lease, float], object] | None = None,
        known: Callable[[int], tuple[int, float]] = lambda v4: (0, 0.0),
    ) -> None:
        self._spans = [hosts(*network) for network in networks]
        self._never_lent: Iterator[int] = chain.from_iterable(self._spans)
        self._by_v4: dict[int, Lease] = {}
        self._by_v6: dict[int, Lease] = {}
        self.damaged: list[str] = []
        """Lines that could not be read of the text that the leases came from."""
        # Every lease is in here, by a time that it does not end before; maybe more than once.
        self._ends: list[tuple[float, int]] = []
        self.told = told
        self.known = known

    def __len__(self) -> int:
        """How many addresses there are."""
        return sum(map(len, self._spans))

    def __contains__(self, v4: int) -> bool:
        return any(v4 in span for span in self._spans)

    def __iter__(self) -> Iterator[Lease]:
        """All leases, ended ones too, in no order."""
        return map(self._updated, list(self._by_v4.values()))

    def lend(self, v6: int, seconds: float, now: float) -> Lease | None:
        """The lease of an address that may be told as *v6*'s for *seconds* from now.

        It is the same as before if there is one.  None when every address is in use.  Raises what
        *told* does; the address may not be told then.
        """
        until = now + seconds + GRACE
        lease = self._by_v6.get(v6)
        if lease and self._updated(lease) is lease:
            return self._extend(lease, until, now)
        v4 = self._free(now)
        return None if v4 is None else self._tell(self._enter(Lease(v4, v6, until)), now)

    def find(self, v4: int) -> Lease | None:
        """Return the lease of *v4*, the present or the last; None if it was never lent."""
        lease = self._by_v4.get(v4)
        return self._updated(lease) if lease else self._adopted(v4)

    def lent_to(self, v6: int) -> Lease | None:
        """The lease of the address that means *v6*, if there is one."""
        return self._by_v6.get(v6)

    def _updated(self, lease: Lease) -> Lease:
        """The lease of the same address, by what others know as well."""
        v6, until = self.known(lease.v4)
        if v6 and v6 != lease.v6:
            self._forget(lease)
            lease = self._enter(Lease(lease.v4, v6, until))
        elif v6:
            lease.until = max(lease.until, until)
        return lease

    def _adopted(self, v4: int) -> Lease | None:
        """The lease of an address that others have lent."""
        v6, until = self.known(v4)
        return self._enter(Lease(v4, v6, until)) if v6 and v4 in self else None

    def _forget(self, lease: Lease) -> None:
        del self._by_v4[lease.v4]
        if self._by_v6.get(lease.v6) is lease:
            del self._by_v6[lease.v6]

    def _enter(self, lease: Lease) -> Lease:
        self._by_v4[lease.v4] = lease
        self._by_v6.setdefault(lease.v6, lease)
        heapq.heappush(self._ends, (lease.until, lease.v4))
        return lease

    def _extend(self, lease: Lease, until: float, now: float) -> Lease:
        """Let *lease* run until then, unless it runs longer already."""
        before = lease.until
        if until > before:
            lease.until = until
            try:
                self._tell(lease, now)
            except OSError:
                lease.until = before  # which has been promised
                raise
        return lease

    def _tell(self, lease: Lease, now: float) -> Lease:
        try:
            if self.told:
                self.told(lease, now)
        except OSError:
            lease.until = now  # it was told nobody, so the next attempt runs longer and tells
            raise
        return lease

    def _free(self, now: float) -> int | None:
        """An address for another server, without a meaning."""
        for v4 in self._never_lent:
            if v4 not in self._by_v4 and not self._adopted(v4):
                return v4
        while self._ends and self._ends[0][0] <= now:
            end, v4 = heapq.heappop(self._ends)
            lease = self._by_v4.get(v4)
            if lease is None or self._updated(lease) is not lease:
                continue  # another place in the heap is its own
            if lease.until == end:
                self._forget(lease)
                return v4
            heapq.heappush(self._ends, (lease.until, v4))
        return None

    # -- across restarts ---------------------------------------------------------------------

    def dumps(self, now: float) -> str:
        """All leases as text: a line that names the form, then one for each."""
        return "".join(f"{line}\n" for line in (FORM, *(lease.line(now) for lease in self)))

    @classmethod
    def loads(cls, text: str, networks: Iterable[Network], now: float) -> Pool:
        """The pool of *networks* with the leases in *text*, as far as their addresses are in these.

        Time that has passed in between does not count.  Of two lines that contradict each other
        the first is right, and one that cannot be read is left out: see `damaged`.  Raises
        FaithError for a text of something else.
        """
        pool = cls(networks)
        first, *lines = text.splitlines() or [""]
        if first.rstrip() != FORM:
            raise FaithError(f"leases begin with {first[:40]!r}, not with {FORM!r}")
        for number, line in enumerate(lines, 2):
            if line.strip():
                try:
                    pool._take(_read(line, now))
                except ValueError as error:
                    pool.damaged.append(f"line {number}: {error}")
        return pool

    def _take(self, lease: Lease) -> None:
        if lease.v4 in self and lease.v4 not in self._by_v4 and lease.v6 not in self._by_v6:
            self._enter(lease)


def hosts(network: int, length: int) -> range:
    """The addresses of a network, but for its first and last, which some hosts take for special."""
    size = 1 << (32 - length)
    edge = 1 if size > 2 else 0
    return range(network + edge, network + size - edge)


def _read(line: str, now: float) -> Lease:
    """The lease that *line* is of.  Raises ValueError."""
    v4, v6, left = line.split()
    until = now + float(left)
    if not math.isfinite(until):
        raise ValueError(f"{left} is no time")
    return Lease(int(IPv4Address(v4)), int(IPv6Address(v6)), until)
