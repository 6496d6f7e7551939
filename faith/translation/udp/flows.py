"""The UDP flows of clients: the gateway's port of each, and the peers that may answer.

A client's endpoint, an address and a port, has one port of the gateway whatever host it sends to
(RFC 4787 REQ-1: endpoint-independent mapping, RFC 6146 §3.5.1).  ``now`` is any clock that only
goes forward, in seconds.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faith.errors import ConfigError
from faith.translation.mtu import LEAST_MTU, check_mtu
from faith.translation.ports import Ports
from faith.translation.reasons import CLIENT_FLOWS, FLOWS
from faith.translation.shares import CLIENT_LENGTH, Shares, client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.translation.shares import Place

    Key = tuple[int, ...]
    """The numbers that identify a flow."""

LEAST_IDLE = 120.0
"""Seconds: the least idle time that RFC 4787 REQ-5 allows for ports that are not well known."""
LOOK = 1.0
"""How much longer than their time flows may last, in seconds."""
ADDRESS, ENDPOINT = "address", "endpoint"
FILTERINGS = (ADDRESS, ENDPOINT)
"""Hosts that may send in: those that the client sent to (RFC 4787 §5:
address-dependent), or all."""

SHORT_PORTS = Ports([(53, 53), (123, 123)])
"""DNS and NTP."""

_ECN = 0b11
_MOST_PEERS = 4096  # of one flow; fewer when all flows together have many
_MOST_PEERS_OF_ALL, _FEW_PEERS = 1 << 20, 32
_NO_LIMIT = 1 << 40
_MOST_ENDED = 1024  # flows that have ended before their time, beside as many as there are
_LOOKED_AT = 16
_order = itertools.count()


@dataclass(frozen=True)
class UdpSettings:
    """Settings of UDP flows; times in seconds, limits 0 for none.

    A flow ends *idle* seconds after the last datagram of its client, or *short* seconds if the
    client has sent to *short_ports* only, where one answer is all that comes.  *mtu* is the MTU of
    the IPv6 side in octets.  With *dscp* the DSCP of a datagram is that of the other leg, else 0;
    ECN is carried always.  A client is an IPv4 address, or all IPv6 addresses with the first
    *client_length* bits in common.  Raises ConfigError.
    """

    idle: float = 300.0
    short: float = 10.0
    short_ports: Ports = SHORT_PORTS
    filtering: str = ADDRESS
    flows: int = 16384
    flows_per_client: int = 1024
    mtu: int = LEAST_MTU
    dscp: bool = True
    client_length: int = CLIENT_LENGTH

    def __post_init__(self) -> None:
        if self.idle < LEAST_IDLE:
            raise ConfigError(f"idle: must be at least {LEAST_IDLE:g} seconds (RFC 4787 REQ-5)")
        if self.short <= 0:
            raise ConfigError("short: must be more than 0 seconds")
        check_mtu(self.mtu)

    def lifetime(self, port: int) -> float:
        """Return for how many seconds a datagram to *port* keeps a flow."""
        return self.short if port in self.short_ports else self.idle

    def traffic_class(self, octet: int) -> int:
        """Return what of *octet*, of DSCP and ECN, goes to the other leg (RFC 7915 §4.1, §5.1)."""
        return octet if self.dscp else octet & _ECN


class Flow:
    """A flow: *key* begins with the client's address, *ends* has the sockets and addresses to send
    by.

    *address* is the client's, of 128 bits (IPv4 is at ::ffff:0:0/96).  It lasts until *due* at
    least; *peers* are the hosts the client sent to, and until when they may answer.  *first* is the
    endpoint that a client of IPv6 first sent to; *sent* and *received* are octets from the client
    and to it, since it was *opened*.
    """

    __slots__ = (
        *("address", "due", "ended", "ends", "first", "key", "opened", "peers", "place"),
        *("received", "sent"),
    )

    place: Place
    """Its place among all flows."""

    def __init__(self, key: Key, address: int, ends: Any) -> None:
        self.key = key
        self.address = address
        self.ends = ends
        self.due = 0.0
        self.ended = False
        self.peers: dict[int, float] = {}
        self.first = (0, 0)
        self.opened = 0.0
        self.sent = self.received = 0


class Flows:
    """The flows of all clients, within the limits of *settings*, which may be replaced.

    Each client has a share of them.
    """

    def __init__(self, settings: UdpSettings) -> None:
        self._by_key: dict[Key, Flow] = {}
        self._places = Shares(_NO_LIMIT)
        self.settings = settings
        self._peers = 0  # of all flows
        # Every flow is in here once, by a time before which it does not end.
        self._ends: list[tuple[float, int, Flow]] = []

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._by_key.values())

    def fill(self) -> tuple[int, int]:
        """Return how many flows there are, and how many there may be."""
        return self._places.fill()

    def find(self, key: Key) -> Flow | None:
        """Return the flow with that key, or None."""
        return self._by_key.get(key)

    @property
    def settings(self) -> UdpSettings:
        """The settings; others apply to new flows."""
        return self._settings

    @settings.setter
    def settings(self, settings: UdpSettings) -> None:
        self._settings = settings
        self._places.limit = settings.flows or _NO_LIMIT

    def refuses(self, address: int) -> str | None:
        """Return why the client at *address*, of 128 bits, may have no further flow, or None."""
        places, settings = self._places, self._settings
        if len(places) >= places.limit:
            return FLOWS
        who = client(address, settings.client_length)
        most = settings.flows_per_client
        if most and places.held(who) >= most:
            return CLIENT_FLOWS
        return None if places.admits(who) else CLIENT_FLOWS

    def make_room(self, address: int) -> Flow | None:
        """End a flow of a client that has more than an equal share, for one at *address*, and
        return it.

        None for a client that has such a share itself, and where nobody has more.  A few flows are
        looked at, at random: who has most of the flows has most of these.
        """
        places, length = self._places, self._settings.client_length
        who = client(address, length)
        equal, own = places.equal_share(who), places.held(who)
        if not self._ends or own >= min(equal, self._settings.flows_per_client or equal):
            return None
        some = (random.choice(self._ends)[2] for _ in range(_LOOKED_AT))
        held = [(places.held(one.place.client), one) for one in some if not one.ended]
        most, flow = max(held, key=lambda pair: pair[0], default=(0, None))
        if flow is None or most <= max(equal, own + 1):
            return None
        self.remove(flow)
        return flow

    def add(self, flow: Flow) -> None:
        """Add *flow*, which has a new key, until `expire` ends it."""
        self._by_key[flow.key] = flow
        self._peers += len(flow.peers)
        who = client(flow.address, self._settings.client_length)
        flow.place = self._places.enter(who, flow, flow.due)
        heapq.heappush(self._ends, (flow.due, next(_order), flow))

    def touch(self, flow: Flow, peer: int, port: int, now: float) -> None:
        """Record that the client sends to *port* of *peer*, which may now answer (RFC 4787 REQ-6).

        The caller need not repeat it for `LOOK` seconds.
        """
        due = now + LOOK + self._settings.lifetime(port)
        if due > flow.due:
            flow.due = due
        self._remember(flow.peers, peer, due)

    def _remember(self, peers: dict[int, float], peer: int, due: float) -> None:
        """Make *peer* the newest of *peers*, until *due* at least."""
        before = peers.pop(peer, None)
        peers[peer] = due if before is None else max(before, due)
        if before is not None:
            return
        self._peers += 1
        most = _MOST_PEERS if self._peers < _MOST_PEERS_OF_ALL else _FEW_PEERS
        if len(peers) > most:
            oldest = list(itertools.islice(peers, len(peers) - most + most // 4))
            for one in oldest:
                del peers[one]
            self._peers -= len(oldest)

    def lets_in(self, flow: Flow, peer: int, now: float) -> bool:
        """Return whether *peer* may send to the client of *flow*."""
        return self._settings.filtering == ENDPOINT or flow.peers.get(peer, now) > now

    def expire(self, now: float) -> list[Flow]:
        """End the flows whose time is over, and return them."""
        ended = []
        while self._ends and self._ends[0][0] <= now:
            _, order, flow = self._ends[0]
            if flow.due > now and not flow.ended:
                heapq.heapreplace(self._ends, (flow.due, order, flow))
                continue
            heapq.heappop(self._ends)
            if not flow.ended:
                self.remove(flow)
                ended.append(flow)
        return ended

    def end(self, concerned: Callable[[Flow], bool]) -> list[Flow]:
        """End the flows that are *concerned*, and return them."""
        ended = [flow for flow in self if concerned(flow)]
        for flow in ended:
            self.remove(flow)
        return ended

    def take(self, most: int) -> list[Flow]:
        """Remove at most *most* flows, for another process to have them."""
        taken = list(itertools.islice(self, most))
        for flow in taken:
            self.remove(flow)
        return taken

    def remove(self, flow: Flow) -> None:
        """End *flow*, before its time."""
        flow.ended = True
        del self._by_key[flow.key]
        self._peers -= len(flow.peers)
        self._places.leave(flow.place)
        if len(self._ends) > 2 * len(self._by_key) + _MOST_ENDED:
            self._ends = [one for one in self._ends if not one[2].ended]
            heapq.heapify(self._ends)
