"""Connections to the gateway's own addresses, for which workers have the local server started."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from faith.daemon.process.channel import InvalidMessage, socket_of
from faith.daemon.process.fork import how_it_ended
from faith.daemon.process.messages import Local, LocalRefused
from faith.kernel.netlink import routes
from faith.kernel.process import oom_score
from faith.kernel.sockets.tcp_sockets import reset
from faith.relay.tcp.record import endpoint
from faith.translation.address import number, number6
from faith.translation.prefix import Prefixes
from faith.translation.reasons import CLIENT_SHARE, SHED
from faith.translation.shares import Counts
from faith.translation.shares import client as client_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.config.settings import Settings
    from faith.daemon.process.messages import Report
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.reception import Handler
    from faith.relay.tcp.admission import Admission, Seat

log = logging.getLogger("faith.supervisor")

_NO_LIMIT = 1 << 40


class _Running(NamedTuple):
    """A local server that runs for *host*, an address: its client, and where it counts."""

    host: str
    client: int
    seat: Seat


class LocalService:
    """Starts local servers, of which each client has a share: see *settings*.

    They count as sessions by *admission*, so that the workers know of them.
    """

    def __init__(self, settings: Settings, admission: Admission) -> None:
        self._admission = admission
        self._shares = Counts(_NO_LIMIT)
        self._running: dict[int, _Running] = {}
        self.apply(settings)
        self.handlers: dict[type[Report], Handler] = {Local: self._serve}

    def apply(self, settings: Settings) -> None:
        """Start servers by other *settings* from now on."""
        self._settings = settings
        limits = settings.relay.limits
        self._shares.limit = limits.local_servers or _NO_LIMIT
        self._admission.limit(limits)

    def fill(self) -> tuple[int, int]:
        """Return how many local servers run, and how many may."""
        return self._shares.fill()

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a process that ended, as waitpid(2) told; False if it is no local server."""
        ended = self._running.pop(pid, None)
        if ended is None:
            return False
        self._shares.remove(ended.client)
        self._admission.leave(ended.seat)
        if status:
            log.warning("local server for %s (pid %d) %s", ended.host, pid, how_it_ended(status))
        return True

    def state(self) -> list[tuple[int, str]]:
        """Return the servers that run, for `adopt` in the next program of this process."""
        return [(pid, one.host) for pid, one in self._running.items()]

    def adopt(self, state: Iterable[tuple[int, str]]) -> None:
        """Count the servers that the predecessor has started, and this process will reap."""
        for pid, host in state:
            self._started(pid, host)

    def limit_of(self, host: str) -> str | None:
        """Return the reason of the limit that refuses a session of *host* now, None for none."""
        return self._admission.refuses(host, time.monotonic()) if self._admission.limited else None

    def _serve(self, worker: Worker, message: Local, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # or it was lost for want of room
            with _connection(descriptor) as connection:
                self._judge(worker, connection)

    def _judge(self, worker: Worker, connection: socket.socket) -> None:
        """Start the local server on *connection*; its client may have gone meanwhile."""
        what = "a connection"
        try:
            address, port = connection.getsockname()[:2]
            server = self._settings.local_server(port)
            if server is None or _is_mapped(address):  # by settings or a prefix that are new
                reset(connection)
                return
            what = server.path
            client, client_port = connection.getpeername()[:2]
            if why := self._refuses(client):
                reset(connection)
                worker.send(LocalRefused(client, client_port, address, port, why))
                return
            pid = server.start(connection)
            self._started(pid, client)
            oom_score.unprotect(pid)
        except OSError as error:
            log.error("executing local %s: %s", what, error.strerror)
        else:
            whom = endpoint((client, client_port))
            log.info("executing local %s for %s (pid %d)", server.path, whom, pid)

    def _refuses(self, host: str) -> str | None:
        if why := self._admission.too_many(host):
            return why
        shares = self._shares
        if shares.admits(self._client(host)):
            return None
        return CLIENT_SHARE if shares.taken < shares.limit else f"{SHED}: too many local servers"

    def _started(self, pid: int, host: str) -> None:
        started = _Running(host, self._client(host), self._admission.keep(host))
        self._shares.add(started.client)
        self._running[pid] = started

    def _client(self, host: str) -> int:
        return client_of(number6(host), self._settings.relay.limits.prefix_length)


def _connection(descriptor: int) -> socket.socket:
    """Return a copy of a TCP connection of IPv6.  Raises InvalidMessage for anything else."""
    found = socket_of(descriptor)
    kind = found.family, found.type, found.proto
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if kind != (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP) or listens:
        found.close()
        raise InvalidMessage("no TCP connection of IPv6")
    return found


def _is_mapped(address: str) -> bool:
    """Return whether *address* is in a prefix so new that the worker did not know it yet."""
    return Prefixes(routes.reserved()).find(number(address)) is not None
