"""The whole forwarder in one process: what it listens on, serves and asks, kept up to date."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from faith.dns import listening
from faith.dns.cache import Cache
from faith.dns.dns_counters import Counters
from faith.dns.endpoint import Endpoint
from faith.dns.name_service import Names
from faith.dns.options import WELL_KNOWN, Options
from faith.dns.reverse import IP6_ARPA
from faith.dns.server import Server
from faith.dns.tasks import Tasks
from faith.dns.upstream_servers import Servers
from faith.errors import FaithError, PermissionNeeded, SetupError
from faith.kernel.netlink import interfaces, routes
from faith.translation.address import IPV4_MAPPED
from faith.translation.networks import Networks
from faith.translation.shares import CLIENT_LENGTH

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from faith.dns.lease_file import LeaseFile
    from faith.dns.pool import Network, Pool

RETRY = 3.0
"""Seconds until an address is tried again whose port somebody else has."""
_LINK_LOCAL = (0xFE80 << 112, 10)

log = logging.getLogger("faith.dns")


@dataclass(frozen=True)
class Settings:
    """Settings of a forwarder.

    *reserved*: everybody gets the prefixes reserved on this host, instead of those in *options*.
    *listen* empty is every address of the host, *forward* empty the servers in resolv.conf(5),
    and *served* None the networks that the host's interfaces connect to.  *authorities* are
    certificates to trust, as PEM; *stale* as in Cache, *mixed_case* as in Request.  The addresses
    of *pool* are lent to the borrowers in *options*, and *pool_file* says which to whom.
    """

    options: Options
    reserved: bool = True
    listen: tuple[Endpoint, ...] = ()
    forward: tuple[Endpoint, ...] = ()
    served: Networks | None = None
    stale: int = 0
    mixed_case: bool = False
    authorities: str | None = None
    shared: bool = False
    """Several processes are to serve on the same sockets' addresses."""
    workers: int = 1
    """So many of them, each for some of the names."""
    pool: tuple[Network, ...] = ()
    pool_file: Path = Path("/var/lib/faith/pool")
    client_length: int = CLIENT_LENGTH
    """IPv6 addresses with so many bits in common are one client's."""


async def serve(
    settings: Settings,
    ready: Callable[[], object],
    counters: Counters | None = None,
    lease_file: LeaseFile | None = None,
    given: Iterable[socket.socket] = (),
) -> None:
    """Serve until cancelled; *ready* is called once that has begun, and *counters* count.

    *lease_file* has the addresses to lend, which no other process may.  On the sockets that are
    *given* it listens, if there are any, and on no others.  Raises ConfigError and SetupError.
    """
    async with AsyncExitStack() as undo:
        pool = _pool(lease_file, undo) if lease_file else None
        tasks = Tasks()
        counters = counters or Counters()
        servers = Servers(
            settings.forward,
            tasks,
            counters,
            mixed_case=settings.mixed_case,
            authorities=settings.authorities,
        )
        undo.callback(servers.close)
        service = _Service(settings, servers, tasks, counters, pool)
        undo.callback(service.server.close)
        undo.push_async_callback(tasks.close)
        undo.callback(service.stop)
        watch = undo.enter_context(routes.watch())
        await service.start(given)
        loop = asyncio.get_running_loop()
        loop.add_reader(watch.fileno(), service.changed, watch)
        ready()
        try:
            await loop.create_future()
        finally:
            loop.remove_reader(watch.fileno())
            service.stop()
            await service.server.finish()


def _pool(lease_file: LeaseFile, undo: AsyncExitStack) -> Pool | None:
    """Return the pool of *lease_file*, which *undo* saves; None, logged, if it is broken."""
    try:
        pool = lease_file.pool(time.monotonic())
    except (FaithError, OSError) as error:
        log.error("nothing is lent: %s", error)
        return None

    def save() -> None:
        try:
            lease_file.save(pool, time.monotonic())
        except OSError as error:
            log.error("the leases of the pool are not written down: %s", error.strerror)

    undo.callback(save)
    return pool


class _Service:
    """A server that follows what it depends on."""

    def __init__(
        self,
        settings: Settings,
        servers: Servers,
        tasks: Tasks,
        counters: Counters,
        pool: Pool | None,
    ) -> None:
        self._tasks = tasks
        self._counters = counters
        self._pool = pool
        self._settings = settings
        self._servers = servers
        self._basis = _basis(settings)
        self._cache = Cache(stale=settings.stale)
        self._sockets: dict[Endpoint, list[socket.socket]] = {}
        self._missing: set[Endpoint] = set()
        self._retrying: asyncio.TimerHandle | None = None
        self._refreshing = asyncio.Lock()
        self._given: list[Endpoint] = []
        names = self._names()
        self.server = Server(names, self._tasks, counters, settings.client_length)

    def _names(self) -> Names:
        settings = self._settings
        options, connected, ours = self._basis
        served = settings.served or Networks(128, connected)
        return Names(
            options,
            served,
            self._servers.upstreams,
            self._tasks,
            settings.stale,
            self._counters,
            self._pool,
            Networks(128, ours),
            self._cache,
        )

    async def start(self, given: Iterable[socket.socket]) -> None:
        """Serve on what is *given* or else, for as long as they are there, on all addresses.

        Raises SetupError.
        """
        for sock in given:
            sock.setblocking(False)
            host, port, *_ = sock.getsockname()
            self._given.append(Endpoint(host, port))
            await self.server.listen([sock])
        await self.refresh()
        self._servers.start([*self._given, *self._sockets])

    async def refresh(self) -> None:
        """Serve the prefixes, clients and addresses of this moment.

        An address that cannot be listened on, as its port is somebody else's, keeps no other from
        being served, unless it is one of the settings' and this is the start.  Raises SetupError.
        """
        async with self._refreshing:
            basis = _basis(self._settings)
            if basis != self._basis:
                if basis[0].all_prefixes != self._basis[0].all_prefixes:
                    self._cache.forget_below(IP6_ARPA)  # other names are mapped addresses'
                self._basis = basis
                self.server.names = self._names()
            if self._given:
                return
            wanted = set(self._settings.listen) or listening.own_endpoints()
            for endpoint in self._sockets.keys() - wanted:
                self.server.forget(self._sockets.pop(endpoint))
            is_start = not self._sockets and not self._missing
            refused: dict[Endpoint, SetupError] = {}
            for endpoint in sorted(wanted - self._sockets.keys()):
                if self._servers.asks(endpoint):
                    continue  # the server there may be starting anew
                try:
                    await self._listen(endpoint)
                except PermissionNeeded:
                    raise
                except SetupError as error:
                    refused[endpoint] = error
            if is_start and refused and (self._settings.listen or not self._sockets):
                raise next(iter(refused.values()))
            for endpoint in refused.keys() - self._missing:
                log.warning("%s; it is served when it can be", refused[endpoint])
            self._missing = wanted - self._sockets.keys()
            self._retry_later()
            self._servers.refresh(self._sockets)

    async def _listen(self, endpoint: Endpoint) -> None:
        """Serve on *endpoint*.  Raises SetupError."""
        settings = self._settings
        opened = listening.sockets(endpoint, shared=settings.shared, workers=settings.workers)
        self._sockets[endpoint] = opened
        await self.server.listen(opened)
        if endpoint in self._missing:
            log.info("listening on %s as well", endpoint)

    def _retry_later(self) -> None:
        """Look again in a while for what is missing: nobody tells when a port becomes free."""
        self.stop()
        if self._missing:
            loop = asyncio.get_running_loop()
            self._retrying = loop.call_later(RETRY, self._refresh_soon)

    def stop(self) -> None:
        """Look no more."""
        if self._retrying:
            self._retrying.cancel()
            self._retrying = None

    def _refresh_soon(self) -> None:
        self._tasks.start(self._follow(), "refresh")

    def changed(self, watch: routes.Watch) -> None:
        """Refresh soon, if what was told concerns us."""
        if watch.drain():
            self._refresh_soon()

    async def _follow(self) -> None:
        try:
            await self.refresh()
        except SetupError as error:
            log.error("%s", error)


def serves(settings: Settings, client: int) -> bool:
    """Return whether *client*, of 128 bits, gets answers by *settings*; IPv4 is at
    ::ffff:0:0/96."""
    return client in (settings.served or Networks(128, frozenset(_connected())))


def _basis(
    settings: Settings,
) -> tuple[Options, frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
    """The options with the prefixes of this moment, the networks of the host's links, and its own.

    These are all that it answers for on IPv6, its prefixes included.
    """
    options = settings.options
    reserved = routes.reserved()
    if settings.reserved:
        prefixes = tuple(reserved) or (WELL_KNOWN,)  # RFC 6147 §5.2
        options = replace(options, prefixes=prefixes)
    ours = [*routes.own_ipv6(), *((prefix.address, prefix.length) for prefix in reserved)]
    return options, frozenset(_connected()), frozenset(ours)


def _connected() -> Iterator[tuple[int, int]]:
    """The networks of the host's interfaces, IPv4 ones at ::ffff:0:0/96."""
    yield _LINK_LOCAL
    for own in interfaces.addresses():
        network, length = int(own.network.network_address), own.network.prefixlen
        yield (
            (network, length) if own.address.version == 6 else (IPV4_MAPPED | network, 96 + length)
        )
