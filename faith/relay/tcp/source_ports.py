"""Source ports towards servers that have taken most of them: bounded searches by the kernel.

connect(2) looks for a source port that no connection to the same server holds, those in TIME_WAIT
included.  When half of ``net.ipv4.ip_local_port_range`` is taken it takes milliseconds, for which
all other sessions of the worker wait.  Towards such a server the kernel is asked to look in small
ranges at random places (IP_LOCAL_PORT_RANGE, Linux 6.3), and in all ports once a second at most.

Of the ports towards such a server each client has a share.  Nothing is counted for it when sessions
begin and end: how many each has there is estimated from some of the worker's sessions, once a
second.  Ports in TIME_WAIT are nobody's: the kernel does not say whose they were.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel import text_file
from faith.kernel.sockets.tcp_sockets import ALL_PORTS, has_port_ranges
from faith.relay.tcp import dial
from faith.relay.tcp.record import endpoint

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator, Sequence

    from faith.kernel.sockets.tcp_sockets import PortRange
    from faith.relay.tcp.session import Session
    from faith.relay.tcp.session_shares import SessionShares

    Server = tuple[str, int, str | None]
    """The address and port of a server, and the source address."""

log = logging.getLogger("faith.relay")

SLOW = 0.0005
"""Seconds that a connect(2) takes where few ports are free; with many it takes 15 microseconds."""
RUN = 5
"""Slow ones in a row that tell of few free ports: one alone may have waited for the processor."""
CROWDED = 60.0
"""Seconds for which a server counts as crowded then."""
ESTIMATE = 10.0
"""Seconds from one estimate of how full the ports are to the next."""
PAUSE = 1.0
"""Seconds between two searches in all ports."""
WIDTH = 256
"""Ports of a small range."""
TRIES = 2
"""Small ranges that are tried for one connection."""
MOST = 1024
"""Crowded servers that are remembered; the one known longest is forgotten first."""

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT = 32768, 60999


class NoShareError(OSError):
    """The client has its share of the source ports towards the server."""


class _Crowd:
    """A server that may be crowded: it is *until* a time, after so many *slow* connects in a row.

    It is searched in all ports again from *whole* on.  How many ports are *held* by each client,
    and *free*, is estimated again from *counted* on.  A source address may be one client's alone:
    it *is_shared* once another has come.
    """

    __slots__ = (
        *("_ports", "counted", "first", "free", "held", "is_shared", "is_told", "slow"),
        *("until", "whole"),
    )

    def __init__(self) -> None:
        self.slow = 0
        self.until = 0.0
        self.whole = 0.0
        self._ports: PortRange | None = None
        self.is_told = False
        self.is_shared = False
        self.first: int | None = None
        """The client that has come first."""
        self.counted = 0.0
        self.held: dict[int, float] = {}
        self.free = 0.0

    @property
    def ports(self) -> PortRange:
        """The ports that connect(2) chooses from, as they were at the first look."""
        if self._ports is None:
            self._ports = _local_ports()
        return self._ports


class SourcePorts:
    """Connects to servers, and remembers those to which free source ports are few.

    With *shares*, which count the sessions of this process, clients have shares of these ports;
    *sample* returns some of the sessions, chosen at random.  So many *workers* use the ports alike.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        shares: SessionShares | None = None,
        sample: Callable[[], Sequence[Session]] = list,
        workers: int = 1,
    ) -> None:
        self._clock = clock
        self._shares = shares
        self._sample = sample
        self._workers = workers
        self._crowds: dict[Server, _Crowd] = {}
        self._estimated = -ESTIMATE
        self._fill = 0, 0

    def connect(
        self,
        host: str,
        port: int,
        source: str | None = None,
        *,
        reserved_port: bool = False,
        client: str | None = None,
        traffic_class: int = 0,
    ) -> tuple[_socket.socket, int]:
        """Begin a connection as `dial.connect` does; EADDRNOTAVAIL says that no port was found.

        Raises NoShareError if it is for a *client*, an address, that has its share.
        """
        if reserved_port:
            return dial.connect(host, port, source, reserved_port=True, traffic_class=traffic_class)
        server = host, port, source
        begun = self._clock()
        crowd = self._crowds.get(server)
        if crowd is not None and begun < crowd.until:
            if client is not None and self._is_over_share(client, server, crowd, begun):
                raise NoShareError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
            ranges = self._ranges(crowd)
            sock, error = dial.connect(
                host, port, source, ranges=ranges, traffic_class=traffic_class
            )
        else:
            sock, error = dial.connect(host, port, source, traffic_class=traffic_class)
            if error == errno.EADDRNOTAVAIL:
                crowd = self._known(server)
                crowd.until, crowd.whole = begun + CROWDED, begun + PAUSE
                crowd.is_told = False
            elif self._clock() - begun > SLOW:
                self._count_slow(server, begun)
            elif crowd is not None:
                del self._crowds[server]
        if error == errno.EADDRNOTAVAIL and crowd is not None and not crowd.is_told:
            crowd.is_told = True
            _warn(server)
        return sock, error

    def fill(self) -> tuple[int, int]:
        """Return how many source ports sessions hold towards that server which has most, and how
        many this process may have of them.

        It is an estimate, some seconds old at most; ports in TIME_WAIT are not in it.
        """
        now = self._clock()
        if now - self._estimated >= ESTIMATE and self._shares is not None:
            self._estimated = now
            first, last = _local_ports()
            held = _most_held(self._sample(), self._shares.taken)
            self._fill = held, (last - first + 1) // self._workers
        return self._fill

    def _is_over_share(self, client: str, server: Server, crowd: _Crowd, now: float) -> bool:
        shares = self._shares
        first, last = crowd.ports
        limit = (last - first + 1) / self._workers
        if shares is None or shares.taken < limit / 2:
            return False
        if now >= crowd.counted:
            crowd.counted = now + PAUSE
            crowd.held = _estimate(server, self._sample(), shares.taken)
            crowd.free = limit - sum(crowd.held.values())
        who = shares.client(client)
        crowd.first = who if crowd.first is None else crowd.first
        crowd.is_shared |= server[2] is None or who != crowd.first or len(crowd.held) > 1
        held = crowd.held.get(who, 0.0)
        return crowd.is_shared and held > 0 and held >= crowd.free

    def _count_slow(self, server: Server, now: float) -> None:
        crowd = self._known(server)
        crowd.slow += 1
        if crowd.slow >= RUN:
            crowd.until, crowd.is_told = now + CROWDED, False

    def _known(self, server: Server) -> _Crowd:
        crowd = self._crowds.pop(server, None) or _Crowd()
        if len(self._crowds) >= MOST:
            del self._crowds[next(iter(self._crowds))]
        self._crowds[server] = crowd  # the last to be forgotten
        return crowd

    def _ranges(self, crowd: _Crowd) -> Iterator[PortRange | None]:
        """Yield the ranges for one connection, each after the one before had no free port."""
        small = _has_ranges()
        if small:
            first, last = crowd.ports
            places = max(last - first + 2 - WIDTH, 1)
            for _ in range(TRIES):
                start = first + int.from_bytes(os.urandom(4), "big") % places
                yield start, min(start + WIDTH - 1, last)
        now = self._clock()
        if now >= crowd.whole:
            if small:
                crowd.whole = now + PAUSE
            yield ALL_PORTS if small else None
            crowd.whole = now + PAUSE


def _estimate(server: Server, some: Sequence[Session], sessions: int) -> dict[int, float]:
    """Return how many of so many *sessions* each client has to *server*, where *some* are so."""
    found = Counter(
        one.share for one in some if (one.route.server, one.port, one.route.source) == server
    )
    return {who: count * sessions / len(some) for who, count in found.items()}


def _most_held(some: Sequence[Session], sessions: int) -> int:
    """Return how many of so many *sessions* lead to one server, from one source, at most."""
    found = Counter((one.route.server, one.port, one.route.source) for one in some)
    if not found:
        return 0
    ((_, count),) = found.most_common(1)
    return round(count * sessions / len(some))


@cache
def _has_ranges() -> bool:
    return has_port_ranges()


def _warn(server: Server) -> None:
    host, port, source = server
    log.warning(
        "no source port is free to connect to %s%s: see net.ipv4.tcp_tw_reuse,"
        " net.ipv4.ip_local_port_range and [[source]]",
        endpoint((host, port)),
        f" from {source}" if source else "",
    )


def _local_ports() -> tuple[int, int]:
    """Return the first and the last port that connect(2) chooses from by itself."""
    try:
        first, last = map(int, text_file.read_proc(_RANGE).split())
    except (SetupError, ValueError):
        return _DEFAULT
    return first, last
