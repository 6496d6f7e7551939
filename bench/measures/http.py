"""Requests and connections: wrk, with 50 connections, against the origin's nginx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import near
from bench.measures.base import Row
from bench.placement import anywhere, apart
from bench.programs import NGINX, WRK
from bench.usage import spending

if TYPE_CHECKING:
    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.scale import Scale

REQUEST = Row("CPU per keep-alive request", "µs")
CONNECTION = Row("CPU per connection", "µs")
MACHINE = {
    row: Row(f"{row.name}, whole machine", row.unit, row.decimals) for row in (REQUEST, CONNECTION)
}
OF_CORE = Row("connections set up, of a core of the contender's", "1/s", 0)


class Requests:
    """CPU per keep-alive request or, when each is to *close*, per connection."""

    needs = (WRK, NGINX)
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def __init__(self, *, close: bool) -> None:
        self.name = "connections" if close else "requests"
        self._close = close
        self._row = CONNECTION if close else REQUEST

    def rows(self, scale: Scale) -> list[Row]:
        """The contender's CPU, and the machine's; connections are counted by it, too."""
        return [self._row, MACHINE[self._row], *([OF_CORE] if self._close else [])]

    def suits(self, contender: Contender) -> bool:
        """Every contender."""
        return True

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by requests."""
        bed.serve_http()
        with contender.start(bed) as running, spending(running.programs) as spent:
            load = bed.request(running.target, scale.load, close=self._close)
        figures = {MACHINE[self._row]: spent.machine / load.requests * 1e6}
        if running.programs:
            figures[self._row] = spent.contender / load.requests * 1e6
            if self._close:
                figures[OF_CORE] = load.requests / spent.contender
        return figures


class SetUpRate:
    """Connections a second, with one worker and with two."""

    name = "rate"
    needs = (WRK, NGINX)
    build: Build = staticmethod(near)
    placement = staticmethod(anywhere)

    _workers = (1, 2)

    def rows(self, scale: Scale) -> list[Row]:
        """One for each number of workers."""
        return [
            Row("connections set up, one worker", "1/s", 0),
            Row("connections set up, two workers", "1/s", 0),
        ]

    def suits(self, contender: Contender) -> bool:
        """Every contender; some only once."""
        return True

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """Connections divided by time."""
        bed.serve_http()
        figures = {}
        for row, workers in zip(self.rows(scale), self._workers, strict=True):
            if workers == 1 or contender.scales:
                with contender.start(bed, workers) as running:
                    load = bed.request(running.target, scale.load, close=True)
                figures[row] = load.requests / load.seconds
        return figures
