"""Overload of one worker, without descriptors or memory: it refuses, pauses and reports that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import NO_RESOURCES
from faith.relay.tcp.source_ports import NoShareError
from faith.translation.reasons import CLIENT_SHARE, NO_SOURCE, SHED

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.tcp.listener import Listener
    from faith.relay.tcp.plane import Plane

log = logging.getLogger("faith.relay")

PAUSE = 0.1
"""Seconds a listener rests when a connection could not even be refused."""


class Overload:
    """Lets the listeners of *plane* rest, and tells of all that is refused once a second.

    *listens* says whether a listener is to go on; *shed* is called for each connection that was
    reset as soon as it was accepted.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        plane: Plane,
        listens: Callable[[Listener], bool],
        shed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._plane = plane
        self._listens = listens
        self._shed = shed
        self._refused = 0  # since it was told last

    def exhausted(self, listener: Listener, shed: bool) -> None:
        """*listener* could accept nothing; it has *shed* one connection, or not even that."""
        self._note()
        if shed:
            self._shed()
        else:
            self._plane.unwatch(listener.sock.fileno())
            self._loop.call_later(PAUSE, self._resume, listener)

    def why(self, error: OSError) -> str:
        """Return the reason to refuse a connection that *error* kept from being dialled."""
        if error.errno in NO_RESOURCES:
            self._note()
            return f"{SHED}: out of resources"
        if isinstance(error, NoShareError):
            return CLIENT_SHARE
        return f"{NO_SOURCE}: {error.strerror}".lower()

    def _resume(self, listener: Listener) -> None:
        if self._listens(listener):
            self._plane.watch(listener.sock.fileno(), listener)

    def _note(self) -> None:
        if not self._refused:
            log.warning("out of descriptors or memory: new connections are refused")
            self._loop.call_later(1.0, self._recovered)
        self._refused += 1

    def _recovered(self) -> None:
        log.warning("%d connections were refused for want of resources", self._refused)
        self._refused = 0
