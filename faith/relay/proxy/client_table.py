"""The clients of a worker's proxies by their sessions, and which of them wait for what."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from faith.relay.tcp.timeouts import StageTimeouts

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.tcp.session import Session

C = TypeVar("C")


class ClientTable(Generic[C]):
    """Clients by their sessions.

    *overdue* is called with each that has not asked for anything within so many *seconds* since it
    was its turn.  While a worker *drains*, no connection is kept for another request.
    """

    def __init__(
        self, loop: AbstractEventLoop, seconds: float, overdue: Callable[[C], object]
    ) -> None:
        self._loop = loop
        self.clients: dict[Session, C] = {}
        self.drains = False
        self.dialling: dict[Session, None] = {}
        """The sessions that wait for a server, the first to have begun that first."""

        def miss(session: Session) -> None:
            overdue(self.clients[session])

        self.greeting = StageTimeouts(loop, seconds, miss)
        """The sessions of those whose turn it is."""

    def add(self, session: Session, client: C) -> None:
        """Have *session* be the one of *client*."""
        self.clients[session] = client

    def keep_time(self, session: Session, *, must_ask: bool) -> None:
        """Start the time of a greeting when it is the turn of *session*'s client, or end it."""
        if must_ask and session not in self.greeting:
            self.greeting.add(session, self._loop.time())
        elif not must_ask and session in self.greeting:
            self.greeting.remove(session)

    def oldest(self, most: int) -> list[Session]:
        """Return at most *most* sessions that dial, and as many that have yet to ask."""
        return [*islice(self.dialling, most), *self.greeting.oldest(most)]

    def remove(self, session: Session) -> None:
        """Forget *session*, and its time."""
        self.keep_time(session, must_ask=False)
        self.dialling.pop(session, None)
        del self.clients[session]
