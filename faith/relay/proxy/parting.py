"""The end of a client's connection by the proxy, which the client's last answer comes before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import QUIET, unacknowledged

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.proxy.proxy_events import HangUp
    from faith.relay.proxy.stream_end import StreamEnd

LINGER = 5.0
"""Seconds from one look to the next: a client that has everything may hang up by then."""
SOON = 0.02
"""The same before a reset, which is to go out as soon as the client has everything."""


class Parting:
    """Ends the connection of *client* as *leaving* says, once it has taken everything.

    *owed* octets for it wait elsewhere.  It gets them, a FIN, and time for its own: a reset could
    overtake them.  A client that reads slowly takes its time, unless it takes nothing for so many
    seconds (*patience*, 0 for ever); before a reset it has 15 seconds, as sessions have.  *over* is
    called with True once the client has everything, or with False when it has had its time.  It
    *lingers* if the FIN was sent before, by another process.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        client: StreamEnd,
        leaving: HangUp,
        owed: Callable[[], int],
        patience: float,
        over: Callable[[bool], object],
        *,
        lingers: bool = False,
    ) -> None:
        self.leaving = leaving
        self.lingers = lingers
        self._loop = loop
        self._client = client
        self._owed = owed
        self._patience = QUIET if leaving.cut else patience
        self._interval = SOON if leaving.cut else LINGER
        self._over = over
        self._left = self._to_take()
        self._moved = loop.time()
        self._timer = loop.call_later(self._interval, self._look)

    def has_come(self) -> bool:
        """Return whether the connection can be ended now; if it only could, send the FIN."""
        if self._owed():
            return False
        if self.leaving.cut:
            return not self._to_take()
        if not self._client.at_end and not self.lingers:
            self.lingers = True
            self._client.shut_down()
        return self._client.at_end

    def cancel(self) -> None:
        """Stop the clock."""
        self._timer.cancel()

    def _to_take(self) -> int:
        """Return how many octets the client has yet to acknowledge, a FIN being one of them."""
        return self._owed() + unacknowledged(self._client.fd)

    def _look(self) -> None:
        now, left = self._loop.time(), self._to_take()
        if left != self._left:
            self._left, self._moved = left, now
        if not left:
            self._over(True)
        elif self._patience and now - self._moved >= self._patience:
            self._over(False)
        else:
            self._timer = self._loop.call_later(self._interval, self._look)
