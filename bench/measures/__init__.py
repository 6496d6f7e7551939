"""What is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measures.asked import (
    BY_CONNECT,
    BY_SOCKS5,
    FORWARDED,
    FORWARDED_ONCE,
    IN_TUNNEL,
    LARGE_FORWARDED,
    LARGE_IN_TUNNEL,
)
from bench.measures.bulk import Bulk
from bench.measures.distance import Far
from bench.measures.growth import PREFIXES, RULES, SESSIONS, Growth
from bench.measures.http import Requests, SetUpRate
from bench.measures.idle import Idle
from bench.measures.inetd import Inetd
from bench.measures.latency import BULK_SESSIONS, Latency
from bench.measures.retrieval import Retrieval

if TYPE_CHECKING:
    from bench.measures.base import Measure

MEASURES: tuple[Measure, ...] = (
    Requests(close=False),
    Requests(close=True),
    SetUpRate(),
    Bulk(),
    Retrieval(),
    Latency(),
    Latency(BULK_SESSIONS),
    Idle(),
    Growth(SESSIONS),
    Growth(RULES),
    Growth(PREFIXES),
    Inetd(),
    Far(middle=True),
    Far(middle=False),
)
"""Those of relays, in the order of the table."""

OF_PROXIES: tuple[Measure, ...] = (
    BY_CONNECT,
    BY_SOCKS5,
    FORWARDED,
    FORWARDED_ONCE,
    IN_TUNNEL,
    LARGE_IN_TUNNEL,
    LARGE_FORWARDED,
    Idle(),
)
"""Those of proxies."""
