"""The rates of sessions, from two readings of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.cli.sessions import Session

_SLACK = 0.1
"""Seconds: a session that is older than the last reading by less may have begun after it."""


class Row(Struct):
    """A session, or a group of so many *sessions*, with its rates in octets a second.

    A rate is None as long as it is not known.  *id* is "" for a group, and *client* and *server*
    may be networks or counts then.  *asked* is what a proxy's client asked for, else "".
    """

    id: str
    client: str
    server: str
    source: str
    mapped: str
    stage: str
    seconds: float
    sent: int
    received: int
    sent_rate: float | None = None
    received_rate: float | None = None
    sessions: int = 1
    asked: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """The parts that stay the same from one reading to the next, and are no other row's."""
        return self.id, self.client, self.server if not self.id else ""

    @property
    def rate(self) -> float:
        """Both rates together; -1 when neither is known."""
        if self.sent_rate is None and self.received_rate is None:
            return -1.0
        return (self.sent_rate or 0.0) + (self.received_rate or 0.0)


class Rates:
    """Remembers the last reading, and makes rows with rates of the next.

    A session is known by its id and its client together: a new worker gives the same ids again.
    Its own age is the clock, so that it does not matter when in a reading it was written down.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], tuple[float, int, int]] = {}
        self._at: float | None = None

    def rows(self, sessions: Iterable[Session], now: float) -> list[Row]:
        """Return *sessions*, as they were read at *now* (seconds, monotonic), with their rates."""
        before, self._before = self._before, {}
        since = None if self._at is None else now - self._at + _SLACK
        rows = []
        for one in sessions:
            key = one.id, one.client
            then = before.get(key)
            self._before[key] = one.seconds, one.sent, one.received
            row = _row(one)
            if then is None and since is not None and one.seconds <= since:
                then = 0.0, 0, 0  # it has begun since
            if then is not None:
                _set_rates(row, then)
            rows.append(row)
        self._at = now
        return rows


def _row(one: Session) -> Row:
    return Row(
        one.id,
        one.client,
        one.server or "",
        one.source or "",
        one.mapped,
        one.stage,
        one.seconds,
        one.sent,
        one.received,
        asked=one.asked,
    )


def _set_rates(row: Row, then: tuple[float, int, int]) -> None:
    """Set the rates of *row* since *then*: its age and octets.  Numbers that fell are another's."""
    seconds, sent, received = then
    if row.seconds > seconds and row.sent >= sent and row.received >= received:
        row.sent_rate = (row.sent - sent) / (row.seconds - seconds)
        row.received_rate = (row.received - received) / (row.seconds - seconds)
