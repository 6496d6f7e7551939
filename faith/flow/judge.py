"""Judgements: what becomes of a client's connections to a mapped address, and by which ways."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.datagram.icmp import NO_ROUTE_V6, PROHIBITED_V6
from faith.flow.flow_output import is_link_local
from faith.flow.flow_settings import MOST_MSS
from faith.flow.route_cache import NoRoute, RouteTo
from faith.translation.address import from_packed, packed4
from faith.translation.flow_ports import PortPool
from faith.translation.pseudo_header import sum_change
from faith.translation.reasons import NO_SOURCE, OWN, PREFIX_GONE, UNREACHABLE
from faith.translation.shares import client

if TYPE_CHECKING:
    from faith.datagram.icmp import Error
    from faith.flow.flow_settings import FlowSettings
    from faith.flow.route_cache import RouteCache
    from faith.kernel.flow.layout import Slot
    from faith.translation.destination import Policy

MOST_JUDGEMENTS = 16384
"""Judgements that are kept; when there are more, all are forgotten at once."""

LEAST_MSS = 88
"""The least MSS that Linux itself goes by, however narrow a way is (TCP_MIN_MSS)."""

_GOLDEN = 0x9E3779B97F4A7C15
_ALL = (1 << 64) - 1
_V4_MORE = 20
"""Octets by which a packet grows on its way from IPv4 to IPv6."""
_HEADERS_V4 = 40


class Ways(tuple[int, int, int, int, int, int]):
    """Interfaces, MTUs and MSSs of a flow, as `FlowMaps.reroute` takes them: each for IPv4, then
    for IPv6."""

    __slots__ = ()


def ways(route4: RouteTo, route6: RouteTo, mss: int) -> Ways:
    """Return the ways of a flow; the MSS is at most *mss*, unless that is 0."""
    fits = min(route4.mtu, route6.mtu - _V4_MORE) - _HEADERS_V4
    most = max(min(fits, mss or MOST_MSS, MOST_MSS), LEAST_MSS)
    return Ways((route4.interface, route6.interface, route4.mtu, route6.mtu, most, most))


class Judgement:
    """The decision about a client and a mapped address.

    *refused* is the reason of a refusal, and *error* the ICMPv6 error to send for it; without one
    it is a reset.  *share* is the number of the client.
    """

    __slots__ = (
        *("ends", "error", "pool", "refused", "server", "share", "source"),
        *("sum46", "sum64", "ways"),
    )

    server: bytes
    source: bytes
    ends: bytes
    """Source and server, joined."""
    pool: PortPool
    ways: Ways
    sum64: int
    sum46: int

    def __init__(self, share: int, refused: str | None = None, error: Error | None = None) -> None:
        self.share = share
        self.refused = refused
        self.error = error


class Judge:
    """Judges by *policy*, *settings* and *routes*; call `clear` when one of them has changed."""

    def __init__(self, policy: Policy, settings: FlowSettings, routes: RouteCache) -> None:
        self._known: dict[bytes, Judgement] = {}
        self.routes = routes
        self.policy = policy
        self.settings = settings

    @property
    def settings(self) -> FlowSettings:
        """The settings; the judge forgets its judgements with those that were before."""
        return self._settings

    @settings.setter
    def settings(self, settings: FlowSettings) -> None:
        self._settings = settings
        self._dedicated, self._shared = (
            PortPool(settings.address_ports),
            PortPool(settings.shared_ports),
        )
        self._own = frozenset(map(packed4, settings.addresses))
        self.clear()

    def clear(self) -> None:
        """Forget all judgements."""
        self._known.clear()

    def judge(self, ends: bytes, interface: int) -> Judgement:
        """Judge a SYN between *ends*, client and mapped address, that came by *interface*."""
        key = ends + interface.to_bytes(4, "big") if is_link_local(ends) else ends
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST_JUDGEMENTS:
                self._known.clear()
            found = self._known[key] = self._decide(ends[:16], ends[16:], interface)
        return found

    def _decide(self, client_octets: bytes, mapped: bytes, interface: int) -> Judgement:
        address, target = from_packed(client_octets), from_packed(mapped)
        share = client(address, self._settings.client_length)
        prefix = self.policy.prefixes.find(target)
        if prefix is None:
            return Judgement(share, PREFIX_GONE)
        destination = prefix.unmap(target)
        verdict = self.policy.admit(address, destination, prefix)
        if verdict.refused:
            return Judgement(share, verdict.refused)
        server = packed4(destination)
        route6 = self.routes.to(client_octets, interface=_scope(client_octets, interface))
        if isinstance(route6, NoRoute) or route6.local:
            return Judgement(share, UNREACHABLE)
        source = self._source(verdict.source4, share)
        if source is None:
            return Judgement(share, NO_SOURCE)
        route4 = self.routes.to(server, source)
        if isinstance(route4, NoRoute):
            error = PROHIBITED_V6 if route4.errno == errno.EACCES else NO_ROUTE_V6
            return Judgement(share, UNREACHABLE, error)
        if route4.local:
            return Judgement(share, OWN)
        source = source or route4.source
        if not source:
            return Judgement(share, NO_SOURCE)
        return self._admitted(share, client_octets + mapped, source, server, route4, route6)

    def _admitted(
        self,
        share: int,
        before: bytes,
        source: bytes,
        server: bytes,
        route4: RouteTo,
        route6: RouteTo,
    ) -> Judgement:
        found = Judgement(share)
        found.source, found.server, found.ends = source, server, source + server
        found.pool = self._dedicated if source in self._own else self._shared
        found.ways = ways(route4, route6, self._settings.mss)
        found.sum64 = sum_change(before, found.ends)
        found.sum46 = sum_change(found.ends, before)
        return found

    def _source(self, source4: int | None, share: int) -> bytes | None:
        """Return the source address of a client, empty for the kernel's choice, None without one.

        It is *source4*, or else one of the settings: always the same of those that are there.
        """
        if source4 is not None:
            source = packed4(source4)
            return source if self._is_own(source) else None
        addresses = self._settings.addresses
        first = ((share & _ALL ^ share >> 64) * _GOLDEN & _ALL) >> 32
        for at in range(len(addresses)):
            source = packed4(addresses[(first + at) % len(addresses)])
            if self._is_own(source):
                return source
        return None if addresses else b""

    def _is_own(self, source: bytes) -> bool:
        route = self.routes.to(source)
        return isinstance(route, RouteTo) and route.local

    def ways_of(self, slot: Slot) -> Ways | None:
        """Return the ways that the flow of *slot* has now, None without a route."""
        route4 = self.routes.to(slot.server, slot.source)
        route6 = self.routes.to(slot.client, interface=_scope(slot.client, slot.oif6))
        if isinstance(route4, NoRoute) or isinstance(route6, NoRoute):
            return None
        return ways(route4, route6, self._settings.mss)


def _scope(client_octets: bytes, interface: int) -> int:
    return interface if is_link_local(client_octets) else 0
