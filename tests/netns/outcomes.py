"""What became of all that used a gateway, and what was lost with a worker that was killed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

NO_PORTS = (0, 0)


@dataclass
class Outcome:
    """Something that used the gateway; *error* is None if whole.

    A session is known by *ports*: the client's, and the one that it went to.
    """

    what: str
    begun: float
    ports: tuple[int, int] = NO_PORTS
    ended: float = 0.0
    error: BaseException | None = None


@dataclass
class Death:
    """A worker's, and the ports of the sessions that it had."""

    at: float = 0.0
    ports: frozenset[tuple[int, int]] = frozenset()

    def took(self, one: Outcome) -> bool:
        return one.ports in self.ports and one.begun <= self.at <= one.ended


@dataclass
class Tally:
    """What became of it all."""

    outcomes: list[Outcome] = field(default_factory=list)
    death: Death = field(default_factory=Death)

    def lost(self) -> list[Outcome]:
        """What failed, and was not of the worker that was killed."""
        return [one for one in self.outcomes if one.error and not self.death.took(one)]

    def text(self) -> str:
        done = Counter(one.what for one in self.outcomes)
        victims = [one for one in self.outcomes if self.death.took(one)]
        cut = sum(one.error is not None for one in victims)
        kinds = ", ".join(f"{count:,} {what}" for what, count in done.items())
        return f"{kinds}; {len(victims)} were the killed worker's, of which {cut} were cut"
