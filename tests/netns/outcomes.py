"""What became of all that used a gateway, and what was lost with a worker that was killed."""

from __future__ import annotations

import math
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
    """The end of a process, and what may be lost with it: nothing else may.

    That is the sessions with these *ports*, and whatever begins with one of *kinds* and was under
    way before the clients of that kind were served again, at *until*.
    """

    at: float
    ports: frozenset[tuple[int, int]] = frozenset()
    kinds: tuple[str, ...] = ()
    until: float = math.inf

    def took(self, one: Outcome) -> bool:
        if one.ports in self.ports and one.begun <= self.at <= one.ended:
            return True
        return one.what.startswith(self.kinds) and one.begun <= self.until and one.ended >= self.at


@dataclass
class Tally:
    """What became of it all."""

    outcomes: list[Outcome] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)

    def took(self, one: Outcome) -> bool:
        """Return whether *one* was of a process that was killed."""
        return any(death.took(one) for death in self.deaths)

    def lost(self) -> list[Outcome]:
        """What failed, and was of no process that was killed."""
        return [one for one in self.outcomes if one.error and not self.took(one)]

    def text(self) -> str:
        done = Counter(one.what for one in self.outcomes)
        victims = [one for one in self.outcomes if self.took(one)]
        cut = sum(one.error is not None for one in victims)
        kinds = ", ".join(f"{count:,} {what}" for what, count in done.items())
        return f"{kinds}; {len(victims)} were of killed processes, of which {cut} were cut"
