"""Connections to the gateway's own addresses, for which workers have the local server started."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from faith.daemon.process.channel import InvalidMessage
from faith.daemon.process.messages import Local
from faith.kernel.netlink import routes
from faith.kernel.process import oom_score
from faith.kernel.sockets.tcp_sockets import reset
from faith.relay.tcp.record import endpoint
from faith.translation.address import number
from faith.translation.prefix import Prefixes

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.config.settings import Settings
    from faith.daemon.process.messages import Report
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.worker_pool import Handler

log = logging.getLogger("faith.supervisor")


class LocalService:
    """Hears of such connections, and starts what the *settings* of that moment say."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self.handlers: dict[type[Report], Handler] = {Local: self._serve}

    def _serve(self, worker: Worker, message: Local, descriptors: list[int]) -> None:
        for descriptor in descriptors:  # or it was lost for want of room
            with _connection(descriptor) as connection:
                self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        """Start the local server on *connection*; its client may have gone meanwhile."""
        what = "a connection"
        try:
            server = self._settings().local_server(connection.getsockname()[1])
            if server is None or _is_mapped(connection):  # by settings or a prefix that are new
                reset(connection)
                return
            what = server.path
            client = endpoint(connection.getpeername()[:2])
            pid = server.start(connection)
            oom_score.unprotect(pid)
        except OSError as error:
            log.error("executing local %s: %s", what, error.strerror)
        else:
            log.info("executing local %s for %s (pid %d)", server.path, client, pid)


def _connection(descriptor: int) -> socket.socket:
    """Return a copy of a TCP connection of IPv6.  Raises InvalidMessage for anything else."""
    number = os.dup(descriptor)
    try:
        found = socket.socket(fileno=number)
    except OSError as error:
        os.close(number)
        raise InvalidMessage("no socket") from error
    kind = found.family, found.type, found.proto
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if kind != (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP) or listens:
        found.close()
        raise InvalidMessage("no TCP connection of IPv6")
    return found


def _is_mapped(connection: socket.socket) -> bool:
    """Return whether *connection* is to a prefix so new that the worker did not know it yet."""
    return Prefixes(routes.reserved()).find(number(connection.getsockname()[0])) is not None
