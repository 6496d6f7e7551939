"""What the relay, the kernel path and proxies are to reach, most of it as ratios within one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.measures.asked import (
    BY_CONNECT,
    BY_SOCKS5,
    FORWARDED,
    FORWARDED_ONCE,
    IN_TUNNEL,
    LARGE_FORWARDED,
    LARGE_IN_TUNNEL,
)
from bench.measures.bulk import DOWN, UP
from bench.measures.bulk import MACHINE as BULK_MACHINE
from bench.measures.distance import Far
from bench.measures.growth import PREFIXES, RULES, SESSIONS, row, steps
from bench.measures.http import CONNECTION, MACHINE, OF_CORE, REQUEST
from bench.measures.idle import Idle
from bench.measures.inetd import FIRST_BYTE, PYTHON
from bench.measures.latency import ROUND_TRIPS
from bench.measures.retrieval import PLAIN, RETR

if TYPE_CHECKING:
    from bench.measures.base import Row
    from bench.results import Results
    from bench.scale import Scale

FLAT = 1.1
"""What may lie between figures that are to be equal: less is noise."""

_RELAY, _KERNEL, _PROXY = "relay", "kernel", "proxy"


class Goal(NamedTuple):
    """The *row* of *name*, divided by the best of *others*, is at most *limit* (or at least).

    Without *others* it is the row itself that is.
    """

    row: Row
    others: tuple[tuple[Row, str], ...]
    limit: float
    at_least: bool = False
    name: str = _RELAY

    def reached(self, results: Results) -> float | None:
        """What was reached; None when something was not measured."""
        if not self.others:
            return results.median(self.row, self.name)
        ratios = [results.ratio((self.row, self.name), other) for other in self.others]
        known = [ratio for ratio in ratios if ratio is not None]
        if not known:
            return None
        return min(known) if self.at_least else max(known)

    def is_met(self, reached: float) -> bool:
        """Whether that is enough."""
        return reached >= self.limit if self.at_least else reached <= self.limit

    def __str__(self) -> str:
        whose = "" if self.name == _RELAY else f"{self.name}, "
        if not self.others:
            return f"{whose}{self.row}"
        names = [other.name if name == self.name else name for other, name in self.others]
        return f"{whose}{self.row.name} : {' or '.join(names)}"


def goals(scale: Scale) -> list[Goal]:
    """All of them."""

    def beside(own: Row, limit: float, *names: str, at_least: bool = False) -> Goal:
        return Goal(own, tuple((own, name) for name in names), limit, at_least)

    def routed(own: Row, limit: float, *, at_least: bool = False) -> Goal:
        return beside(own, limit, "routed", at_least=at_least)._replace(name=_KERNEL)

    def asked(own: Row, limit: float, *names: str) -> Goal:
        return beside(own, limit, *names)._replace(name=_PROXY)

    return [
        beside(REQUEST, 1.05, "haproxy", "nginx"),
        beside(CONNECTION, 1.0, "haproxy", "nginx"),
        *(beside(way, 0.4, "haproxy", "nginx") for way in (UP, DOWN)),
        *(beside(way, 1.0, "haproxy-splice") for way in (UP, DOWN)),
        Goal(RETR, ((PLAIN, _RELAY),), FLAT),
        beside(Idle.memory(scale), 0.3, "haproxy"),
        Goal(FIRST_BYTE, ((PYTHON, _RELAY),), 2.0),
        *(
            Goal(
                row(steps(scale, what)[-1], what),
                ((row(steps(scale, what)[0], what), _RELAY),),
                FLAT,
            )
            for what in (SESSIONS, RULES, PREFIXES)
        ),
        *(
            beside(far.row, 1.0, "routed", at_least=True)
            for far in (Far(middle=True), Far(middle=False))
        ),
        routed(MACHINE[REQUEST], 1.1),
        routed(MACHINE[CONNECTION], 1.3),
        *(routed(BULK_MACHINE[way], 1.2) for way in (UP, DOWN)),
        routed(ROUND_TRIPS, 0.9, at_least=True),
        Goal(OF_CORE, (), 12_000, at_least=True, name=_KERNEL),
        *(
            asked(one.row, 1.0, "squid", "tinyproxy")
            for one in (BY_CONNECT, FORWARDED, FORWARDED_ONCE, LARGE_FORWARDED)
        ),
        asked(BY_SOCKS5.row, 1.0, "dante"),
        *(asked(row, FLAT, "relay") for row in (IN_TUNNEL.row, LARGE_IN_TUNNEL.row)),
        asked(Idle.memory(scale), FLAT, "relay"),
    ]
