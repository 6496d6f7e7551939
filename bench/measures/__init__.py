"""What is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
"""All of them, in the order of the table."""
