"""Time limits of sessions, without a clock call or a store on the path of the bytes."""

from __future__ import annotations

from _socket import SO_KEEPALIVE, SOL_SOCKET
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

from faith.translation.reasons import IDLE, IDLE_HALF_CLOSED, LIFETIME

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from faith.relay.tcp.session import Session

LOOKS = 8
"""Looks in the time of a limit: a session is cut between one and 1⅛ limits of silence."""
LONGEST_INTERVAL = 60.0
"""Seconds between looks at most: the first of a session's life turns on its keep-alive."""
STALL = 1.0
"""Seconds that a timer is late, from which on that time was a stall: nothing could move."""


class StageTimeouts:
    """Sessions that must get past a stage in *seconds*, all the same: first in, first due.

    *missed* is called with each that did not; 0 seconds mean no limit.
    """

    def __init__(
        self, loop: AbstractEventLoop, seconds: float, missed: Callable[[Session], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._missed = missed
        self._due: dict[Session, float] = {}
        self._in_order = True
        self._timer: TimerHandle | None = None
        self._awaited = 0.0  # when the timer is to go off

    def limit(self, seconds: float) -> None:
        """Give those that come from now on another time.

        They may have to wait for those before them whose time was longer.
        """
        self._seconds = seconds

    def add(self, session: Session, now: float) -> None:
        """Start *session*'s time, *now* on the loop's clock."""
        due = self._due[session] = now + self._seconds
        if self._timer is None and self._seconds:
            self._look_at(due)

    def adopt(self, session: Session) -> None:
        """As `add`, for one that may have started before those that are there."""
        due = self._due[session] = session.started + self._seconds
        self._in_order = False
        if self._seconds and (self._timer is None or due < self._awaited):
            self.close()
            self._look_at(max(due, self._loop.time()))

    def remove(self, session: Session) -> None:
        """*session* is past the stage; its turn at the clock is left to find nothing."""
        del self._due[session]

    def __contains__(self, session: Session) -> bool:
        return session in self._due

    def sessions(self) -> list[Session]:
        """Return the sessions whose time is running."""
        return list(self._due)

    def oldest(self, most: int) -> list[Session]:
        """Return at most *most* of these, the first to be due first."""
        return list(islice(self._due, most))

    def _look_at(self, when: float) -> None:
        self._awaited = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now - self._awaited > STALL:  # what has come about meanwhile is to be seen first
            self._look_at(now + STALL)
            return
        if not self._in_order:
            self._due = dict(sorted(self._due.items(), key=itemgetter(1)))
            self._in_order = True
        while self._due:
            session, due = next(iter(self._due.items()))
            if due > now:
                self._look_at(due)
                return
            del self._due[session]
            self._missed(session)

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Sessions(Protocol):
    """A holder of sessions, which can end them."""

    def sessions(self) -> list[Session]:
        """All there are."""

    def end(self, session: Session, how: str, *, reset: bool) -> None:
        """End one of them."""


class IdleTimeouts:
    """Ends sessions on which nothing moves for too long, or that have lasted too long.

    Commands are no silence while there is data, and the other way.

    *idle*, *half_closed* and *lifetime* are seconds; 0 means no limit.  A look compares what has
    moved with what had at the last one; it costs nothing between looks.  The first look at a
    session has TCP ask a silent server whether it is still there: short sessions do without that
    system call.  The client's leg has it from its listener.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sessions: Sessions,
        idle: float,
        half_closed: float,
        lifetime: float,
    ) -> None:
        self._loop = loop
        self._sessions = sessions
        self._timer: TimerHandle | None = None
        self.limit(idle, half_closed, lifetime)

    def limit(self, idle: float, half_closed: float, lifetime: float) -> None:
        """Have these limits from now on, for the sessions that are there too."""
        self._idle = idle
        self._half_closed = half_closed
        self._lifetime = lifetime
        limits = [limit for limit in (idle, half_closed, lifetime) if limit]
        self._interval = min([*(limit / LOOKS for limit in limits), LONGEST_INTERVAL])
        self.close()
        self._look_later()

    def _look_later(self) -> None:
        self._awaited = self._loop.time() + self._interval
        self._timer = self._loop.call_at(self._awaited, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        late = now - self._awaited
        # What has come meanwhile is read before the next look.
        stall = late + self._interval if late > STALL else 0.0
        for session in self._sessions.sessions():
            client, server = session.client, session.server
            if not session.looked_at:
                session.looked_at = True
                server.sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
            if self._lifetime and now - session.started >= self._lifetime:
                self._sessions.end(session, LIFETIME, reset=True)
                continue
            half_closed = client.done + server.done
            session.quiet_since += stall
            seen = client.moved + server.moved + half_closed
            if session.parent is not None:  # rsh has nothing on standard error as a rule
                seen += sum(session.parent.moved)
            if seen != session.seen or session.data:
                session.seen = seen
                session.quiet_since = now
                continue
            limit = self._half_closed if half_closed else self._idle
            if limit and now - session.quiet_since >= limit:
                how = IDLE_HALF_CLOSED if half_closed else IDLE
                self._sessions.end(session, how, reset=True)
        self._look_later()

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
