"""Round trips of one byte, alone and beside bulk sessions on the same worker."""

from __future__ import annotations

import json
import statistics
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench import ends
from bench.bed import ECHO, near
from bench.contenders.base import last_words
from bench.errors import MeasureError
from bench.measures.base import Row
from bench.placement import apart
from bench.programs import IPERF3
from faith.lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.programs import Program
    from bench.scale import Scale

ROUND_TRIPS = Row("1-byte round trips", "1/s", 0)

BULK_SESSIONS = 8
"""Bulk sessions beside the round trips."""


class Latency:
    """Percentiles of the round-trip time, beside *sessions* of bulk."""

    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def __init__(self, sessions: int = 0) -> None:
        self.name = "latency-under-load" if sessions else "latency"
        self.needs: tuple[Program, ...] = (IPERF3,) if sessions else ()
        self._sessions = sessions

    def rows(self, scale: Scale) -> list[Row]:
        """The median and the 99th percentile, and the rate of those that are alone."""
        what = "1-byte round trip"
        if self._sessions:
            what += f" beside {self._sessions} bulk sessions"
        percentiles = [Row(f"{what}, p50", "µs", 0), Row(f"{what}, p99", "µs", 0)]
        return percentiles if self._sessions else [*percentiles, ROUND_TRIPS]

    def suits(self, contender: Contender) -> bool:
        """Every contender."""
        return True

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """Percentiles over all round trips."""
        if self._sessions:
            bed.serve_bulk()
        with contender.start(bed) as running, _bulk(bed, running.target, self._sessions):
            argv = ends.command("ping", running.target, ECHO, scale.pings, scale.pinging)
            times = json.loads(bed.lab.client.run(argv, timeout=120).stdout)
        cuts = statistics.quantiles(times, n=100)
        figures = cuts[49], cuts[98], 1e6 / statistics.fmean(times)
        return dict(zip(self.rows(scale), figures, strict=False))


@contextmanager
def _bulk(bed: Bed, target: str, sessions: int) -> Iterator[None]:
    """Within the block, so many transfers from the origin go on."""
    if not sessions:
        yield
        return
    load = bed.transfer_on(target, sessions)
    try:
        wait_until(lambda: bed.written(load).count("connected to") == sessions, 10, "the bulk")
        yield
        if load.poll() is not None:
            raise MeasureError(f"the bulk ended: {last_words(bed.written(load))}")
    finally:
        load.kill()
        load.wait()
