"""A reading of a faithd: how it is, and its sessions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from faith.cli import control_client, sessions
from faith.daemon.observe.checked_decoding import checked
from faith.daemon.observe.status_report import Daemon
from faith.errors import FaithError

if TYPE_CHECKING:
    from pathlib import Path

    from faith.cli.sessions import Session

SHARE = 10
"""A reading is followed by a pause of so many times its own duration, at least."""


@dataclass(frozen=True)
class Reading:
    """The *daemon* and those of its *sessions* that were wanted, read at the monotonic time *at*.

    It took *seconds*.  With an *error* it is not complete, and there may be no daemon at all.
    """

    at: float
    seconds: float
    daemon: Daemon | None = None
    sessions: list[Session] = field(default_factory=list)
    error: str = ""

    def pause(self, interval: float) -> float:
        """Return the seconds to wait for the next reading, which is wanted every *interval*.

        What takes long is done less often, so that neither the daemon nor this host is kept busy;
        but to wait for a process that does not answer keeps nobody busy.
        """
        if self.error:
            return interval
        return max(interval - self.seconds, SHARE * self.seconds)


class Reader:
    """Reads the faithd at *path*, or the only one here, which may be another after each error."""

    def __init__(self, path: Path | None = None) -> None:
        self._given = path
        self._path = path

    def read(self, wanted: dict[str, Any]) -> Reading:
        """Return a reading with the sessions that are *wanted*; it never raises FaithError."""
        begun = time.monotonic()
        daemon, error = None, ""
        found: list[Session] = []
        try:
            self._path = self._path or control_client.only()
            daemon = _daemon(control_client.ask(self._path, "status"))
            sessions.collect(found, self._path, **wanted)
        except FaithError as failure:
            self._path = self._given
            error = str(failure)
        now = time.monotonic()
        return Reading(now, now - begun, daemon, found, error)

    def kill(self, wanted: dict[str, Any]) -> int:
        """End the sessions that are *wanted*, and return how many that were.  Raises FaithError."""
        return sessions.kill(self._path, **wanted)


def _daemon(answer: Any) -> Daemon:
    try:
        return checked(msgspec.convert)(answer, Daemon)
    except ValueError as error:
        raise FaithError(f"the daemon's status is not understood: {error}") from error
