"""The listeners for data connections of one control connection, by their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.ftp.events import CloseData

if TYPE_CHECKING:
    from faith.ftp.events import Event


@dataclass(frozen=True, slots=True)
class Listeners:
    """The number that a new listener is to have, and those of the listeners that it replaces."""

    new: int
    old: tuple[int, ...]

    def close_old(self) -> list[Event]:
        """Return the events for a server that has moved on, too: close the old listeners."""
        return [CloseData(listener) for listener in self.old]
