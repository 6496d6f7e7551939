"""The open sessions of a relay as numbers: counters, their clients' shares, and their seats."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from faith.relay.tcp.session_shares import SessionShares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from faith.relay.tcp.admission import Admission, Limits
    from faith.relay.tcp.relay_counters import Counters
    from faith.relay.tcp.session import Session

SLICE = 1000
"""Sessions whose octets are counted at a time: half a millisecond."""


class Movement:
    """Has *moved* count the octets of open *sessions*, of so many at a time that nobody waits."""

    def __init__(
        self, sessions: Callable[[], list[Session]], moved: Callable[[Session], object]
    ) -> None:
        self._sessions = sessions
        self._moved = moved
        self._left: Iterator[Session] = iter(())

    def count(self) -> None:
        """Count those whose turn it is; one that has ended meanwhile was counted then."""
        some = list(islice(self._left, SLICE))
        if not some:
            self._left = iter(self._sessions())
            some = list(islice(self._left, SLICE))
        for session in some:
            self._moved(session)


class Accounting:
    """Accounts for sessions that begin, end, come from another process or go to one.

    *counters* count all of them, each is one of its client's *shares*; without limits in
    *admission*, clients have no seats.  A data connection takes no seat of its own.  *displace* is
    called with the address of a client that has no share left, and returns whether one of another
    client's sessions has made room.
    """

    def __init__(
        self,
        counters: Counters,
        admission: Admission | None = None,
        shares: SessionShares | None = None,
        displace: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.counters = counters
        self.shares = SessionShares() if shares is None else shares
        self._displace = displace
        self._admission = admission
        self._limited = admission if admission and admission.limited else None

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended here, dialling ones included."""
        return self.shares.taken

    def limit(self, limits: Limits, sessions: Iterable[Session]) -> None:
        """Admit new sessions by *limits*; the *sessions* that are there count, and stay."""
        self.shares.count_by(limits.prefix_length)
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
        if self._limited is not None and (why := self._limited.refuses(client, now)):
            return why
        shares = self.shares
        return self.over_share(client) if shares.taken >= shares.half else None

    def excess_of_local(self, client: str, now: float) -> str | None:
        """As `excess`, for a connection to the gateway itself, which is passed on if admitted."""
        if self._limited is None:
            return None
        why = self._limited.refuses(client, now)
        if why is None:
            self._limited.pass_on(client, now)
        return why

    def excess_of_another(self, client: str, now: float) -> str | None:
        """As `excess`, for another session in the place that *client* has; it counts if admitted.

        A connection to a proxy may lead to one server after the other.
        """
        if self._limited is None:
            return None
        why = self._limited.too_fast(client, now)
        if why is None:
            self._limited.pass_on(client, now)
        return why

    def over_share(self, client: str) -> str | None:
        """Return the reason why *client*, an address, has no share left; None if it has."""
        why = self.shares.refuses(client)
        return None if why is None or self._displace(client) else why

    def begun(self, session: Session) -> None:
        """Count a session that begins."""
        if self._limited is not None and session.parent is None:
            session.seat = self._limited.take(session.client_host, session.started)
        self._opened(session)

    def adopted(self, session: Session) -> None:
        """Count a session that has come from another relay."""
        self._opened(session)
        if self._limited is not None and session.parent is None:
            session.seat = self._limited.keep(session.client_host)

    def handed_over(self, session: Session) -> None:
        """Count a session no longer that goes to another relay."""
        self.counters.handed_over(session)
        self._vacate(session)

    def ended(self, session: Session) -> None:
        """Count the end of a session."""
        self.counters.ended(session)
        self._vacate(session)

    def replaced(self, session: Session, new: Session) -> None:
        """Count the end of a session whose client goes on in a *new* one, in the same place."""
        new.seat, session.seat = session.seat, None
        new.share = session.share
        self.counters.ended(session)
        self.counters.opened()

    def left(self, session: Session) -> None:
        """Count a session no longer that had no server, and whose refusals were counted."""
        self.counters.moved(session)
        self.counters.left()
        self._vacate(session)

    def _opened(self, session: Session) -> None:
        shares = self.shares
        session.share = shares.client(session.client_host)
        shares.add(session.share)
        self.counters.opened()
        if session.method:
            self.counters.proxied(1)

    def _vacate(self, session: Session) -> None:
        if session.method:
            self.counters.proxied(-1)
        self.shares.remove(session.share)
        if session.seat is not None and self._admission is not None:
            self._admission.leave(session.seat)
            session.seat = None
