"""Resets that wait until the other side has acknowledged what it was sent before.

A close(2) that sends RST (SO_LINGER with 0 s) discards what is sent and not yet acknowledged.  So a
session whose one side was reset is kept until the send queue of the other is empty (SIOCOUTQ).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import LONGEST, QUIET, unacknowledged

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from faith.relay.tcp.session import Leg, Session

MOST = 1024
"""Resets that wait at a time; for one more, the oldest goes out."""
INTERVAL = 0.002
"""Seconds between looks, while few are looked at."""
LOOK = 0.0001
"""Seconds more for each that is looked at, which bounds what the looks cost."""
STALL = 1.0
"""Seconds between two looks that count at most: if it were more, nobody had a chance to move."""


class _Waiting:
    """A session of which the leg *failed*, and how far what came from it has got."""

    __slots__ = ("failed", "lasted", "looked", "quiet", "seen")

    def __init__(self, failed: Leg, now: float) -> None:
        self.failed = failed
        self.looked = now
        self.lasted = 0.0
        self.quiet = 0.0  # seconds in which nothing has moved
        self.seen = (-1, -1)

    def is_over(self, now: float) -> bool:
        """Look, *now*: return whether the reset may go out, or has to."""
        left = unacknowledged(self.failed.peer.fd)
        passed = min(now - self.looked, STALL)
        seen = self.failed.moved, left
        self.quiet = self.quiet + passed if seen == self.seen else 0.0
        self.lasted += passed
        self.seen, self.looked = seen, now
        if self.failed.done and not left:
            return True
        return self.quiet >= QUIET or self.lasted >= LONGEST


class Resets:
    """Sessions that end by a reset as soon as their last octets have arrived.

    *due* is called with each, at the latest :data:`LONGEST` seconds after it was added.
    """

    def __init__(self, loop: AbstractEventLoop, due: Callable[[Session], None]) -> None:
        self._loop = loop
        self._due = due
        self._waiting: dict[Session, _Waiting] = {}
        self._timer: TimerHandle | None = None

    def add(self, session: Session, failed: Leg) -> None:
        """Have *session* end once the peer of *failed* has all, be it before this returns.

        A no-op for a session that waits already: it goes by the time at which it began to.
        """
        if session in self._waiting:
            return
        now = self._loop.time()
        waiting = _Waiting(failed, now)
        if waiting.is_over(now):
            self._due(session)
            return
        if len(self._waiting) >= MOST:
            self._end(next(iter(self._waiting)))
        self._waiting[session] = waiting
        self._look_later()

    def discard(self, session: Session) -> None:
        """Forget *session*, which has ended otherwise or goes elsewhere; a no-op when unknown."""
        self._waiting.pop(session, None)

    def close(self) -> None:
        """Stop the clock, and forget all."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, session: Session) -> None:
        self.discard(session)
        self._due(session)

    def _look_later(self) -> None:
        if self._timer is None:
            delay = INTERVAL + LOOK * len(self._waiting)
            self._timer = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        with suppress(MemoryError):  # the next look has more, or as much to do
            for session in [one for one, waiting in self._waiting.items() if waiting.is_over(now)]:
                self._end(session)
        if self._waiting:
            self._look_later()
