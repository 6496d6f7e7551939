"""What became of all that used a gateway, and what was lost with a worker that was killed."""

from __future__ import annotations

import errno
import math
from collections import Counter
from dataclasses import dataclass, field

NO_PORTS = (0, 0)


@dataclass
class Outcome:
    """Something that used the gateway; *error* is None if whole.

    A session is known by *ports*: the client's, and the one that it went to.  The connection to
    the server is known by *onward*, the server's port and the gateway's.  It was *connected* then,
    if the test has seen it.
    """

    what: str
    begun: float
    ports: tuple[int, int] = NO_PORTS
    onward: tuple[int, int] = NO_PORTS
    connected: float = math.inf
    ended: float = 0.0
    error: BaseException | None = None


@dataclass
class Death:
    """The end of a process, and what may be lost with it: nothing else may.

    That is the sessions with these *ports*, on either side of the gateway, which it had when it was
    killed, at *killed*; and whatever begins with one of *kinds* and was under way before the
    clients of that kind were served again, at *until*.  What ended before the process was made
    to stand still, at *since*, is no loss of its; nor are flows to the *spared* ports that were
    connected then: they outlive it.
    """

    since: float
    ports: frozenset[tuple[int, int]] = frozenset()
    kinds: tuple[str, ...] = ()
    killed: float = math.inf
    until: float = math.inf
    spared: frozenset[int] = frozenset()

    def took(self, one: Outcome) -> bool:
        if one.ended < self.since:
            return False
        if self.ports & {one.ports, one.onward}:
            return one.begun <= self.killed
        if one.ports[1] in self.spared and one.connected < self.since:
            return False
        return one.what.startswith(self.kinds) and one.begun <= self.until


@dataclass
class Gap:
    """The moment until the gateway has followed a change: who connects then may be refused.

    Of outcomes that begin with *what*, and by one of *errors*, numbers of errno.
    """

    what: str
    errors: tuple[int, ...]
    since: float
    until: float = math.inf

    def took(self, one: Outcome) -> bool:
        told = isinstance(one.error, OSError) and one.error.errno in self.errors
        is_meant = told and one.what.startswith(self.what)
        return is_meant and one.begun <= self.until and one.ended >= self.since


def without_a_route(since: float) -> Gap:
    """The clients' way to the gateway is away: the kernel answers that there is no route."""
    return Gap("", (errno.ENETUNREACH,), since)


def without_a_source(what: str, since: float) -> Gap:
    """A source address has gone, and is not yet known to be away: refused, ``no source``."""
    return Gap(what, (errno.ECONNRESET, errno.ECONNREFUSED), since)


@dataclass
class Tally:
    """What became of it all."""

    outcomes: list[Outcome] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def took(self, one: Outcome) -> bool:
        """Return whether *one* was of a process that was killed."""
        return any(death.took(one) for death in self.deaths)

    def lost(self) -> list[Outcome]:
        """What failed, and was of no process that was killed, nor in a gap."""
        failed = [one for one in self.outcomes if one.error and not self.took(one)]
        return [one for one in failed if not any(gap.took(one) for gap in self.gaps)]

    def text(self) -> str:
        done = Counter(one.what for one in self.outcomes)
        victims = [one for one in self.outcomes if self.took(one)]
        cut = sum(one.error is not None for one in victims)
        kinds = ", ".join(f"{count:,} {what}" for what, count in done.items())
        return f"{kinds}; {len(victims)} were of killed processes, of which {cut} were cut"
