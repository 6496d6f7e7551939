"""No relay at all: the gateway forwards IPv4 packets, and the client talks to the origin itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.base import MANY, Running
from faith.lab.topology import SERVER

if TYPE_CHECKING:
    from bench.bed import Bed
    from bench.programs import Program


class Routed:
    """The same hosts and cables, with half as many sockets."""

    name = "routed"
    needs: tuple[Program, ...] = ()
    most_sessions = MANY
    scales = False

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender."""
        bed.lab.gateway.sysctl("net.ipv4.conf.all.forwarding", 1)
        return Running(bed, SERVER)
