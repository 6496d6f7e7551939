"""Bulk: one iperf3 stream, upwards and downwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import near
from bench.measures.base import Row
from bench.placement import apart
from bench.programs import IPERF3
from bench.usage import spending

if TYPE_CHECKING:
    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.scale import Scale

UP = Row("CPU per GB, client to server", "s", 2)
DOWN = Row("CPU per GB, server to client", "s", 2)

MACHINE = {row: Row(f"{row.name}, whole machine", "s", 2) for row in (UP, DOWN)}
_RATE = {
    UP: Row("throughput, client to server", "Gbit/s"),
    DOWN: Row("throughput, server to client", "Gbit/s"),
}


class Bulk:
    """CPU per gigabyte (10⁹ bytes), and bits per second."""

    name = "bulk"
    needs = (IPERF3,)
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def rows(self, scale: Scale) -> list[Row]:
        """The contender's CPU, the machine's and the throughput, for each direction."""
        return [row for way in (UP, DOWN) for row in (way, MACHINE[way], _RATE[way])]

    def suits(self, contender: Contender) -> bool:
        """Every contender."""
        return True

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by bytes."""
        bed.serve_bulk()
        figures = {}
        with contender.start(bed) as running:
            for way in (UP, DOWN):
                with spending(running.programs) as spent:
                    sent = bed.transfer(running.target, scale.bulk, reverse=way is DOWN)
                figures[_RATE[way]] = sent.bits_per_second / 1e9
                figures[MACHINE[way]] = spent.machine / sent.octets * 1e9
                if running.programs:
                    figures[way] = spent.contender / sent.octets * 1e9
        return figures
