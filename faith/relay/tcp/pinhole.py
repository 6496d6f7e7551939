"""A listener for one data connection."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import NO_RESOURCES, reset

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from faith.relay.tcp.plane import Plane

OPEN_FOR = 60.0
"""Seconds that it waits; RFC 6384 §12 wants no less than 30."""
BACKLOG = 8
"""Connections that may wait at a pinhole: one is wanted, strangers may be in front of it."""
REST = 0.1
"""Seconds until it looks again who is there, when there was no room for somebody."""
MOST_STRANGERS = 4
"""Hosts that are reported."""


class Pinhole:
    """Lets in one connection, of *host* and one of *ports*, and closes; whoever else is reset.

    *sock* listens, without blocking.  *came* is called with the connection and its port,
    *stranger* with the host of one that was reset: once for each of the first few hosts, as there
    may be very many.  It waits until the loop's time is *until*.
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
        self._loop = loop
        self._plane = plane
        self._sock = sock
        self._host = host
        self._ports = ports
        self._came = came
        self._stranger = stranger
        self._strangers: set[str] = set()
        self.is_open = True
        self.until = loop.time() + OPEN_FOR if until is None else until
        self._timer = loop.call_at(self.until, self.close)
        self._resting: TimerHandle | None = None
        self._watch()

    def close(self) -> None:
        """Let in who has come by now, and nobody any more; again is nothing."""
        for _ in range(BACKLOG):
            if not self.is_open or not self._answer():
                break
        self._shut()

    def abandon(self) -> None:
        """Let in nobody any more, not even who has come by now; again is nothing."""
        self._shut()

    def _shut(self) -> None:
        if self.is_open:
            self._stop()
            self._plane.retire(self._sock)

    def _stop(self) -> None:
        self.is_open = False
        self._timer.cancel()
        if self._resting is not None:
            self._resting.cancel()

    def hand_over(self) -> int:
        """The descriptor that it listens on, for another; this one is closed."""
        self._stop()
        self._plane.unwatch(self._sock.fileno())
        return self._sock.detach()

    def _knocked(self, _: int) -> None:
        self._answer()

    def _answer(self) -> bool:
        """Let in, or reset, who is the first to wait; False when nobody is."""
        try:
            # typeshed does not know _accept(), which makes no second object of the descriptor.
            fd, peer = self._sock._accept()  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno in NO_RESOURCES:
                self._rest()
            return False
        connection = _socket.socket(self._sock.family, self._sock.type, 0, fd)
        connection.setblocking(False)
        if peer[0] != self._host or peer[1] not in self._ports:
            reset(connection)
            self._report(peer[0])
            return True
        self._shut()
        self._came(connection, peer[1])
        return True

    def _rest(self) -> None:
        """Wait until there may be room: it would be ready all the time, and in vain."""
        self._plane.unwatch(self._sock.fileno())
        self._resting = self._loop.call_later(REST, self._watch)

    def _watch(self) -> None:
        self._plane.watch(self._sock.fileno(), self._knocked)

    def _report(self, host: str) -> None:
        if host not in self._strangers and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(host)
            self._stranger(host)
