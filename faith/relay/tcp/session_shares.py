"""The shares that clients have of the sessions of one worker, each of which takes two descriptors.

What a client may take is what its process has to give: without shares, one client could have all
descriptors, and everybody else would be shed.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from faith.translation.address import number6
from faith.translation.reasons import CLIENT_SHARE, SHED
from faith.translation.shares import CLIENT_LENGTH, Counts, client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.relay.tcp.session import Session

KEPT = 192
"""Descriptors that are no session's: pipes, control channel, log, sockets for FTP."""
REMEMBERED = 8192
"""Addresses whose clients are kept at hand; when there are more, all are forgotten at once."""
_NO_LIMIT = 1 << 40


def places(listeners: int) -> int:
    """Return for how many sessions this process has descriptors, beside so many *listeners*."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(most - KEPT - listeners, most // 2) // 2


class SessionShares(Counts):
    """A table of *limit* sessions, dialling ones included, by their clients.

    A client is an IPv4 address, or all IPv6 addresses with the first *length* bits in common.
    """

    def __init__(self, limit: int = _NO_LIMIT, length: int = CLIENT_LENGTH) -> None:
        super().__init__(limit)
        self.half = limit / 2
        """Sessions from which on there are shares; with fewer, whoever comes gets in."""
        self.count_by(length)

    def count_by(self, length: int) -> None:
        """Tell clients apart by other bits from now on; sessions that are there count as before."""
        self._length = length
        self._clients: dict[str, int] = {}

    def client(self, host: str) -> int:
        """Return the number of the client at *host*, an address as text."""
        found = self._clients.get(host)
        if found is None:
            if len(self._clients) >= REMEMBERED:
                self._clients.clear()
            found = self._clients[host] = client(number6(host), self._length)
        return found

    def refuses(self, host: str) -> str | None:
        """Return the reason to refuse a session of the client at *host*; None to admit it."""
        who = self.client(host)
        if self.admits(who):
            return None
        if self.taken < self.limit or self.held(who) >= self.equal_share(who):
            return CLIENT_SHARE
        return f"{SHED}: no place for another session"

    def displaceable(self, host: str, sessions: Iterable[Session]) -> Session | None:
        """Return that one of *sessions* which is to make room for a session of the client at
        *host*.

        It is the first of the client that has most.  None for a client that has an equal share
        itself, and where nobody has more.
        """
        who = self.client(host)
        equal, own = self.equal_share(who), self.held(who)
        if own >= equal:
            return None
        found = max(sessions, key=lambda one: self.held(one.share), default=None)
        if found is None or self.held(found.share) <= max(equal, own + 1):
            return None
        return found
