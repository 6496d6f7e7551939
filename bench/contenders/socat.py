"""socat: a process for every connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import BULK, ECHO, HTTP
from bench.contenders.base import Running
from bench.programs import SOCAT, path
from faith.lab.topology import GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from bench.bed import Bed


class Socat:
    """As its manual's examples have it, without the delays that small messages would have."""

    name = "socat"
    needs = (SOCAT,)
    most_sessions = 200
    scales = False

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender."""
        programs = [
            bed.start(
                bed.lab.gateway,
                [
                    path(SOCAT),
                    f"TCP6-LISTEN:{port},bind=[{GATEWAY_V6}],fork,reuseaddr,backlog=4096,nodelay",
                    f"TCP4:{SERVER}:{port},nodelay",
                ],
            )
            for port in (ECHO, HTTP, BULK)
        ]
        return Running(bed, GATEWAY_V6, programs)
