"""Listeners for the data connections of encrypted FTP, whose ports nobody can read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import cookie

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from faith.relay.tcp.listener import Listener
    from faith.relay.tcp.plane import Plane


class DataListeners:
    """Accepts on *plane* from the listeners of one worker, each of which *make* serves."""

    def __init__(self, plane: Plane, make: Callable[[_socket.socket], Listener]) -> None:
        self._plane = plane
        self._make = make
        self._listeners: list[Listener] = []
        self._paused: list[_socket.socket] = []

    def __contains__(self, listener: Listener) -> bool:
        return listener in self._listeners

    def add(self, sock: _socket.socket) -> None:
        """Accept from *sock*; it is closed if that is done already by another descriptor."""
        if any(cookie(sock) == cookie(there.sock) for there in self._listeners):
            sock.close()
            return
        listener = self._make(sock)
        self._listeners.append(listener)
        self._plane.watch(sock.fileno(), listener)

    def pause(self) -> None:
        """Accept no more, until `resume` or `release`; connections wait in the kernel's queues."""
        self._paused = [listener.sock for listener in self._listeners]
        self._listeners.clear()
        for sock in self._paused:
            self._plane.unwatch(sock.fileno())

    def resume(self) -> None:
        """Accept again from the listeners that were paused."""
        paused, self._paused = self._paused, []
        for sock in paused:
            self.add(sock)

    def release(self) -> list[int]:
        """Return the descriptors of the paused listeners, now the caller's."""
        paused, self._paused = self._paused, []
        return [sock.detach() for sock in paused]

    def close(self) -> None:
        """Close the listeners."""
        for descriptor in self.release():
            os.close(descriptor)
        for listener in self._listeners:
            self._plane.retire(listener.sock)
