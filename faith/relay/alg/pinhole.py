"""A listener for one data connection."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import NO_RESOURCES, reset

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.tcp.plane import Plane

OPEN_FOR = 60.0
"""Seconds that it waits; RFC 6384 §12 wants no less than 30."""


class Doorway:
    """Lets in one connection, of *host* and one of *ports*, and closes; whoever else is reset.

    *sock* listens, without blocking.  *came* is called with the connection and its port,
    *stranger* with the host of one that was reset.  It waits until the loop's time is *until*.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        plane: Plane,
        sock: _socket.socket,
        host: str,
        came: Callable[[_socket.socket, int], None],
        stranger: Callable[[str], None],
        until: float | None = None,
        *,
        ports: range = range(65536),
    ) -> None:
        self.port: int = sock.getsockname()[1]
        self._plane = plane
        self._sock = sock
        self._host = host
        self._ports = ports
        self._came = came
        self._stranger = stranger
        self.is_open = True
        self.until = loop.time() + OPEN_FOR if until is None else until
        self._timer = loop.call_at(self.until, self.close)
        plane.watch(sock.fileno(), self._knocked)

    def close(self) -> None:
        """Let in nobody any more; again is nothing."""
        if self.is_open:
            self.is_open = False
            self._timer.cancel()
            self._plane.retire(self._sock)

    def hand_over(self) -> int:
        """The descriptor that it listens on, for another; this one is closed."""
        self.is_open = False
        self._timer.cancel()
        self._plane.unwatch(self._sock.fileno())
        return self._sock.detach()

    def _knocked(self, _: int) -> None:
        try:
            # typeshed does not know _accept(), which makes no second object of the descriptor.
            fd, peer = self._sock._accept()  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno in NO_RESOURCES:
                self.close()  # or it would be ready, and in vain, until there is room again
            return
        connection = _socket.socket(self._sock.family, self._sock.type, 0, fd)
        connection.setblocking(False)
        if peer[0] != self._host or peer[1] not in self._ports:
            reset(connection)
            self._stranger(peer[0])
            return
        self.close()
        self._came(connection, peer[1])
