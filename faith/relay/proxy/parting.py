"""The time that a client has to take its last answer, once the proxy has hung up on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import QUIET, unacknowledged

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

LINGER = 5.0
"""Seconds from one look to the next: a client that has everything may hang up by then."""
SOON = 0.02
"""The same before a reset, which is to go out as soon as the client has everything."""


class Parting:
    """Waits until the client at *fd* has acknowledged everything, of which *owed* waits here.

    A client that reads slowly takes its time: *over* is called with True once it has everything,
    or with False when it has taken nothing for so many seconds (*patience*, 0 for ever).  Before a
    reset (*cut*) it has 15 seconds, as sessions have.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        fd: int,
        owed: Callable[[], int],
        patience: float,
        over: Callable[[bool], object],
        *,
        cut: bool,
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._owed = owed
        self._patience = QUIET if cut else patience
        self._interval = SOON if cut else LINGER
        self._over = over
        self._left = self.left
        self._moved = loop.time()
        self._timer = loop.call_later(self._interval, self._look)

    @property
    def left(self) -> int:
        """Return how many octets the client has yet to acknowledge, a FIN being one of them."""
        return self._owed() + unacknowledged(self._fd)

    def cancel(self) -> None:
        """Stop the clock."""
        self._timer.cancel()

    def _look(self) -> None:
        now, left = self._loop.time(), self.left
        if left != self._left:
            self._left, self._moved = left, now
        if not left:
            self._over(True)
        elif self._patience and now - self._moved >= self._patience:
            self._over(False)
        else:
            self._timer = self._loop.call_later(self._interval, self._look)
