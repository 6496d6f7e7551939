"""Connections to the gateway's own addresses, for which workers have the local server started."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from faith.kernel.netlink import routes
from faith.kernel.sockets.tcp_sockets import reset
from faith.relay.tcp.record import endpoint
from faith.translation.prefix import Prefixes

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.config.settings import Settings
    from faith.daemon.process.channel import Message
    from faith.daemon.process.worker_pool import Hearing, Member

log = logging.getLogger("faith.supervisor")


class LocalService:
    """Hears of such connections, and starts what the *settings* of that moment say."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self.hearings: dict[str, Hearing] = {"local": self._serve}

    def _serve(self, member: Member, message: Message, descriptors: list[int]) -> None:
        with socket.socket(fileno=os.dup(descriptors[0])) as connection:
            server = self._settings().local_server(connection.getsockname()[1])
            if server is None:  # no worker of ours would ask
                reset(connection)
                return
            try:
                if _is_mapped(connection):
                    reset(connection)
                    return
                client = endpoint(connection.getpeername()[:2])
                pid = server.start(connection)
            except OSError as error:
                log.error("executing local %s: %s", server.path, error.strerror)
            else:
                log.info("executing local %s for %s (pid %d)", server.path, client, pid)


def _is_mapped(connection: socket.socket) -> bool:
    """Whether it came to a prefix so new that the worker did not know it yet."""
    address = socket.inet_pton(socket.AF_INET6, connection.getsockname()[0].partition("%")[0])
    return Prefixes(routes.reserved()).find(int.from_bytes(address, "big")) is not None
