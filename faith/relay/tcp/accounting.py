"""The open sessions of a relay as numbers: counters, and the seats of their clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.relay.tcp.admission import Admission, Limits
    from faith.relay.tcp.relay_counters import Counters
    from faith.relay.tcp.session import Session


class Accounting:
    """Accounts for sessions that begin, end, come from another process or go to one.

    *counters* count all of them; without limits in *admission*, clients have no seats.  A data
    connection takes no seat of its own.
    """

    def __init__(self, counters: Counters, admission: Admission | None = None) -> None:
        self.counters = counters
        self.open_sessions = 0
        """Sessions that have begun and not ended here, dialling ones included."""
        self._admission = admission
        self._limited = admission if admission and admission.limited else None

    def limit(self, limits: Limits, sessions: Iterable[Session]) -> None:
        """Admit new sessions by *limits*; the *sessions* that are there count, and stay."""
        if self._admission is None:
            return
        self._admission.limit(limits)
        self._limited = self._admission if self._admission.limited else None
        if self._limited is None:
            return
        for session in sessions:
            if session.seat is None and session.parent is None:
                session.seat = self._limited.keep(session.client_host)

    def excess(self, client: str, now: float) -> str | None:
        """Return the reason to refuse a session of *client*, an address; None to admit it."""
        return self._limited.refuses(client, now) if self._limited is not None else None

    def begun(self, session: Session) -> None:
        """Count a session that begins."""
        if self._limited is not None and session.parent is None:
            session.seat = self._limited.take(session.client_host, session.started)
        self.open_sessions += 1
        self.counters.opened()

    def adopted(self, session: Session) -> None:
        """Count a session that has come from another relay."""
        self.open_sessions += 1
        self.counters.opened()
        if self._limited is not None and session.parent is None:
            session.seat = self._limited.keep(session.client_host)

    def handed_over(self, session: Session) -> None:
        """Count a session no longer that goes to another relay."""
        self.open_sessions -= 1
        self.counters.handed_over(session)
        self._vacate(session)

    def ended(self, session: Session) -> None:
        """Count the end of a session."""
        self.open_sessions -= 1
        self.counters.ended(session)
        self._vacate(session)

    def _vacate(self, session: Session) -> None:
        if session.seat is not None and self._admission is not None:
            self._admission.leave(session.seat)
            session.seat = None
