"""Encrypted control connections, whose data connections come unannounced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.relay.tcp.session import Session

    Pair = tuple[str, str]
    Ask = Callable[[str, str, str, Callable[[], None]], None]
    Later = Callable[[float, Callable[[], None]], object]

IN_FLIGHT = 5.0
"""Seconds that a connection may take to reach us which was steered here when it began."""


class TlsSessions:
    """Sessions by client and mapped address, which are steered to us for as long as they last.

    *ask* is called with "steer" or "unsteer", the two addresses, and what to call when it is done;
    *later* with seconds and what to call then: loop.call_later.
    """

    def __init__(self, ask: Ask, later: Later) -> None:
        self._ask = ask
        self._later = later
        self._sessions: dict[Pair, list[Session]] = {}
        self._ended: dict[Pair, list[Session]] = {}

    def add(self, session: Session, then: Callable[[], None]) -> None:
        """Expect data connections of *session*'s; *then* is called when they are steered."""
        pair = _pair(session)
        self._sessions.setdefault(pair, []).append(session)
        self._ask("steer", *pair, then)

    def remove(self, session: Session) -> None:
        """*session* has ended; a no-op when it was none of ours.

        What comes until it is steered no more may be for a session of another worker's.
        """
        if self._sessions and self.hand_over(session):
            pair = _pair(session)
            self._ended.setdefault(pair, []).append(session)
            self._ask("unsteer", *pair, lambda: self._forget_later(pair, session))

    def hand_over(self, session: Session) -> bool:
        """Let go of *session*, which stays steered, for another; False if it was none of ours."""
        return _take(self._sessions, _pair(session), session)

    def adopt(self, session: Session) -> None:
        """Expect data connections of *session*'s, which is steered already."""
        self._sessions.setdefault(_pair(session), []).append(session)

    def _forget_later(self, pair: Pair, session: Session) -> None:
        """Connections that were steered here before are still to be accepted."""
        self._later(IN_FLIGHT, lambda: self._forget(pair, session))

    def _forget(self, pair: Pair, session: Session) -> None:
        _take(self._ended, pair, session)

    def find(self, client: str, mapped: str) -> Session | None:
        """The session that a data connection from *client* to *mapped* belongs to.

        It has ended when its data connections are no longer steered to us, but were just now.
        """
        pair = client, mapped
        sessions = self._sessions.get(pair) or self._ended.get(pair)
        return sessions[-1] if sessions else None


def _take(sessions: dict[Pair, list[Session]], pair: Pair, session: Session) -> bool:
    """Take *session* out; False when it was not there."""
    of_pair = sessions.get(pair, [])
    if session not in of_pair:
        return False
    of_pair.remove(session)
    if not of_pair:
        del sessions[pair]
    return True


def _pair(session: Session) -> Pair:
    return session.client_host, session.route.mapped
