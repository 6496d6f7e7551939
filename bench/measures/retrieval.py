"""RETR through the FTP ALG, beside the same octets on a connection that is plainly relayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import ends
from bench.bed import FILE, FTP, near
from bench.contenders.relay import Relay
from bench.errors import MeasureError
from bench.measures.base import Row
from bench.placement import apart
from bench.usage import spending

if TYPE_CHECKING:
    from bench.bed import Bed, Build
    from bench.contenders.base import Contender, Running
    from bench.measures.base import Figures
    from bench.programs import Program
    from bench.scale import Scale

RETR = Row("CPU per GB of RETR through the FTP ALG", "s", 3)
PLAIN = Row("CPU per GB, the same relayed without it", "s", 3)

_TURNS = 12
"""Times that each is fetched, in turns."""


class Retrieval:
    """CPU per gigabyte (10⁹ bytes), both ways in turns through one faithd."""

    name = "ftp"
    needs: tuple[Program, ...] = ()
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def rows(self, scale: Scale) -> list[Row]:
        """By FTP and without."""
        return [RETR, PLAIN]

    def suits(self, contender: Contender) -> bool:
        """The relay: it is asked of itself."""
        return isinstance(contender, Relay)

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by bytes."""
        bed.serve_file(scale.file)
        spent = {RETR: 0.0, PLAIN: 0.0}
        with Relay(ftp=True).start(bed) as running:
            for _ in range(_TURNS):
                for row in spent:
                    spent[row] += _cost(bed, running, FTP if row is RETR else 0, scale.file)
        return {row: seconds / _TURNS / scale.file * 1e9 for row, seconds in spent.items()}


def _cost(bed: Bed, running: Running, ftp: int, octets: int) -> float:
    """Seconds of CPU to fetch the file once."""
    with spending(running.programs) as spent:
        came = bed.lab.client.run(ends.command("fetch", running.target, ftp, FILE), timeout=60)
    if came.stdout != f"{octets}\n":
        raise MeasureError(f"{octets} octets were to come, and there came {came.stdout}")
    return spent.contender
