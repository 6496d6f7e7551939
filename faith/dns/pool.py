"""IPv4 addresses lent to IPv6 servers, so that IPv4 clients can ask for them by name (RFC 2766 §4).

An A record that stands for an AAAA record needs an address, and the address must mean the same
server for as long as anybody may use it: for the life of the record, for what clients do with it
after that, and for every connection made meanwhile.

``now`` is any clock that only goes forward, in seconds; addresses are integers.
"""

from __future__ import annotations

import heapq
import json
from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import TYPE_CHECKING

from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Network = tuple[int, int]
    """A 32-bit address and a length."""

GRACE = 120.0
"""Seconds that a lease outlives its record, or its last connection."""

_FORM = 1


class Lease:
    """*v4* means *v6* until *until* at least, and while any of its *connections* is open."""

    __slots__ = ("connections", "until", "v4", "v6")

    def __init__(self, v4: int, v6: int, until: float) -> None:
        self.v4 = v4
        self.v6 = v6
        self.until = until
        self.connections = 0


class Pool:
    """The addresses of *networks*.

    What has been lent once keeps its meaning until its address is needed for another server; of
    the addresses that may be taken then, it is the one whose lease ended first.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._spans = [_hosts(*network) for network in networks]
        self._never_lent: Iterator[int] = chain.from_iterable(self._spans)
        self._by_v4: dict[int, Lease] = {}
        self._by_v6: dict[int, Lease] = {}
        self._ends: list[tuple[float, int]] = []  # when to look at a lease again: no sooner
        self._waiting: set[int] = set()  # those of which _ends has an entry
        self._ended: OrderedDict[int, None] = OrderedDict()

    def lend(self, v6: int, seconds: float, now: float) -> Lease | None:
        """The lease of an address that may be told as *v6*'s for *seconds* from now.

        It is the same as before if there is one.  None when every address is in use.
        """
        lease = self._by_v6.get(v6)
        if lease is None:
            v4 = self._free(now)
            if v4 is None:
                return None
            lease = self._enter(Lease(v4, v6, now))
        self._keep(lease, now + seconds + GRACE)
        return lease

    def meaning(self, v4: int) -> int | None:
        """The IPv6 address that *v4* stands for, None for an address that was never lent."""
        lease = self._by_v4.get(v4)
        return lease.v6 if lease else None

    def opened(self, v4: int) -> None:
        """Take note of a connection to *v4*, which has a meaning: it keeps that."""
        lease = self._by_v4[v4]
        lease.connections += 1
        self._ended.pop(v4, None)

    def closed(self, v4: int, now: float) -> None:
        """Take note of its end."""
        lease = self._by_v4[v4]
        lease.connections -= 1
        if not lease.connections:
            self._keep(lease, now + GRACE)

    def _keep(self, lease: Lease, until: float) -> None:
        """Let *lease* run until then, or longer if it does already."""
        lease.until = max(lease.until, until)
        self._ended.pop(lease.v4, None)
        if lease.v4 not in self._waiting:
            self._waiting.add(lease.v4)
            heapq.heappush(self._ends, (lease.until, lease.v4))

    def _free(self, now: float) -> int | None:
        """An address for another server."""
        for v4 in self._never_lent:
            if v4 not in self._by_v4:
                return v4
        self._end(now)
        if not self._ended:
            return None
        v4, _ = self._ended.popitem(last=False)
        del self._by_v6[self._by_v4.pop(v4).v6]
        return v4

    def _end(self, now: float) -> None:
        """End the leases whose time is over."""
        while self._ends and self._ends[0][0] <= now:
            _, v4 = heapq.heappop(self._ends)
            self._waiting.remove(v4)
            lease = self._by_v4[v4]
            if lease.until > now:
                self._keep(lease, lease.until)
            elif not lease.connections:  # or else the end of the last one puts it here again
                self._ended[v4] = None

    def _enter(self, lease: Lease) -> Lease:
        self._by_v4[lease.v4] = self._by_v6[lease.v6] = lease
        return lease

    # -- across restarts ---------------------------------------------------------------------

    def dumps(self, now: float) -> str:
        """All leases as text, with the time that each has left.

        Those with open connections get what they would get at the end of these.
        """
        self._end(now)
        running = [lease for v4, lease in self._by_v4.items() if v4 not in self._ended]
        leases = [self._by_v4[v4] for v4 in self._ended] + running
        return json.dumps(
            {"form": _FORM, "leases": [_told(lease, now) for lease in leases]}, indent=1
        )

    @classmethod
    def loads(cls, text: str, networks: Iterable[Network], now: float) -> Pool:
        """The pool of *networks* with the leases in *text*, as far as their addresses are in these.

        Time that has passed in between does not count.  Raises FaithError for any other text.
        """
        pool = cls(networks)
        try:
            leases = [_read(told) for told in _leases(text)]
        except (LookupError, TypeError, ValueError) as error:
            raise FaithError(f"the leases of the address pool cannot be read: {error}") from None
        for v4, v6, left in leases:
            known = v4 in pool._by_v4 or v6 in pool._by_v6
            if not known and any(v4 in span for span in pool._spans):
                pool._keep(pool._enter(Lease(v4, v6, now)), now + left)
        return pool


def _hosts(network: int, length: int) -> range:
    """The addresses of a network, but for its first and last, which some hosts take for special."""
    size = 1 << (32 - length)
    edge = 1 if size > 2 else 0
    return range(network + edge, network + size - edge)


def _told(lease: Lease, now: float) -> list[object]:
    left = max(lease.until - now, GRACE if lease.connections else 0.0)
    return [str(IPv4Address(lease.v4)), str(IPv6Address(lease.v6)), round(left, 3)]


def _leases(text: str) -> list[list[object]]:
    state = json.loads(text)
    if state["form"] != _FORM:
        raise ValueError(f"its form is {state['form']}, not {_FORM}")
    return list(state["leases"])


def _read(told: list[object]) -> tuple[int, int, float]:
    v4, v6, left = told
    return int(IPv4Address(v4)), int(IPv6Address(v6)), float(str(left))
