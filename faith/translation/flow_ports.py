"""Source ports of translated TCP connections, by the server's endpoint they lead to.

A connection's key is the server's address, the source address, the server's port and the source
port, packed: a source port serves many servers.  A port that has been used rests for a while
before another client has it, because its server may be in TIME_WAIT (RFC 6146 §3.5.2.2: TCP_TRANS).
Ports are given out in turn, so that the next one is the port used longest ago; where all others
are busy, the port that has rested longest is given early.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faith.translation.ports import Ports

TRIES = 64
"""Ports tried in turn before an endpoint gets a record of its own."""
_FEW = TRIES // 2
"""Busy ports below which that record is dropped: it cannot be needed again at once."""
_ENDPOINT = 10
_BUSY = b"\1"


class PortPool:
    """The ports that a source address gives out, in ascending order."""

    __slots__ = ("_ranges", "ports")

    def __init__(self, ports: Ports) -> None:
        self._ranges = ports.ranges
        first, last = ports.ranges[0]
        self.ports: Sequence[int] = (
            range(first, last + 1) if len(ports.ranges) == 1 else tuple(ports)
        )

    def position(self, port: int) -> int:
        """Return the position of *port* in the pool, -1 for another port."""
        before = 0
        for first, last in self._ranges:
            if port <= last:
                return before + port - first if port >= first else -1
            before += last - first + 1
        return -1


class _Crowd:
    """The ports of an *endpoint* that many connections lead to: one octet for each of the pool."""

    __slots__ = ("busy", "count", "endpoint", "next", "pool", "resting")

    def __init__(self, pool: PortPool, endpoint: bytes, start: int, table: FlowPorts) -> None:
        self.pool = pool
        self.endpoint = endpoint
        keys = (endpoint + port.to_bytes(2, "big") for port in pool.ports)
        self.busy = bytearray(map(table.holders.__contains__, keys))
        self.count = self.busy.count(_BUSY)
        self.next = start
        self.resting = dict.fromkeys(key for key in table.resting if key.startswith(endpoint))

    def choose(self) -> bytes | None:
        at = self.busy.find(0, self.next)
        if at < 0:
            at = self.busy.find(0)
        if at < 0:
            return next(iter(self.resting), None)
        self.next = at + 1
        return self.endpoint + self.pool.ports[at].to_bytes(2, "big")

    def mark(self, key: bytes, busy: int) -> None:
        at = self.pool.position(int.from_bytes(key[_ENDPOINT:], "big"))
        if at >= 0 and self.busy[at] != busy:
            self.busy[at] = busy
            self.count += 1 if busy else -1


class FlowPorts:
    """The ports in use and at rest; *start* chooses the first of a source address, below a number.

    ``now`` is any clock that only goes forward.
    """

    __slots__ = ("_crowds", "_start", "holders", "next", "resting")

    def __init__(self, start: Callable[[int], int]) -> None:
        self.holders: dict[bytes, int] = {}
        """The holder of each key: the slot of its flow."""
        self.resting: dict[bytes, float] = {}
        """Since when keys rest, the longest first."""
        self.next: dict[bytes, int] = {}
        """The position in its pool of the next port of each source address."""
        self._start = start
        self._crowds: dict[bytes, _Crowd] = {}

    def choose(self, pool: PortPool, endpoint: bytes) -> bytes | None:
        """Return a key for a new connection, None when every port has a living one.

        *endpoint* is a key without the source port.  A key that still rests has a holder, which the
        caller must release first.
        """
        crowd = self._crowds.get(endpoint) if self._crowds else None
        if crowd is not None and crowd.pool is pool:
            return crowd.choose()
        source, ports, holders = endpoint[4:8], pool.ports, self.holders
        most = len(ports)
        at = self.next.get(source, -1)
        if at < 0:
            at = self._start(most)
        for tried in range(at, at + min(TRIES, most)):
            key = endpoint + ports[tried % most].to_bytes(2, "big")
            if key not in holders:
                self.next[source] = (tried + 1) % most
                return key
        self._crowds[endpoint] = crowd = _Crowd(pool, endpoint, at % most, self)
        return crowd.choose()

    def take(self, key: bytes, holder: int) -> None:
        """Let *holder* have *key*."""
        self.holders[key] = holder
        if self._crowds and (crowd := self._crowds.get(key[:_ENDPOINT])):
            crowd.mark(key, 1)

    def rest(self, key: bytes, now: float) -> None:
        """Let *key* rest from *now* on: its connection is closed, and its holder keeps it."""
        self.resting[key] = now
        if self._crowds and (crowd := self._crowds.get(key[:_ENDPOINT])):
            crowd.resting[key] = None

    def wake(self, key: bytes) -> None:
        """End the rest of *key*: the same client connects again, and nobody else could."""
        self.resting.pop(key, None)
        if self._crowds and (crowd := self._crowds.get(key[:_ENDPOINT])):
            crowd.resting.pop(key, None)

    def give_back(self, key: bytes) -> None:
        """Take *key* from its holder; it is free from now on."""
        del self.holders[key]
        self.resting.pop(key, None)
        if self._crowds and (crowd := self._crowds.get(key[:_ENDPOINT])):
            crowd.resting.pop(key, None)
            crowd.mark(key, 0)
            if crowd.count < _FEW:
                del self._crowds[crowd.endpoint]

    def rested(self, since: float) -> Iterator[bytes]:
        """Yield the keys that have rested since *since* or longer, the longest first."""
        for key, began in self.resting.items():
            if began > since:
                return
            yield key
