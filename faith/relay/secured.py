"""Encrypted control connections, whose data connections come unannounced."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.relay.session import Session

    Pair = tuple[str, str]


class Secured:
    """Sessions by client and mapped address, which are steered to us for as long as they last.

    *ask* is called with "steer" or "unsteer" and the two addresses, and `answered` is to be called
    after each "steer".
    """

    def __init__(self, ask: Callable[[str, str, str], None]) -> None:
        self._ask = ask
        self._sessions: dict[Pair, list[Session]] = {}
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, session: Session, then: Callable[[], None]) -> None:
        """Expect data connections of *session*'s; *then* is called when they are steered."""
        pair = _pair(session)
        self._sessions.setdefault(pair, []).append(session)
        self._waiting.append(then)
        self._ask("steer", *pair)

    def answered(self) -> None:
        """The first that waits need wait no more, whatever came of it."""
        if self._waiting:
            self._waiting.popleft()()

    def give_up(self) -> None:
        """Nobody answers any more."""
        while self._waiting:
            self.answered()

    def remove(self, session: Session) -> None:
        """*session* has ended; a no-op when it was none of ours."""
        if self.hand_over(session):
            self._ask("unsteer", *_pair(session))

    def hand_over(self, session: Session) -> bool:
        """Let go of *session*, which stays steered, for another; False if it was none of ours."""
        sessions = self._sessions.get(_pair(session), [])
        if session not in sessions:
            return False
        sessions.remove(session)
        if not sessions:
            del self._sessions[_pair(session)]
        return True

    def take(self, session: Session) -> None:
        """Expect data connections of *session*'s, which is steered already."""
        self._sessions.setdefault(_pair(session), []).append(session)

    def find(self, client: str, mapped: str) -> Session | None:
        """The session that a data connection from *client* to *mapped* belongs to."""
        sessions = self._sessions.get((client, mapped))
        return sessions[-1] if sessions else None


def _pair(session: Session) -> Pair:
    return session.client_host, session.route.mapped
