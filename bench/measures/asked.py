"""What it costs to ask a proxy, and what its tunnels cost then, beside a relayed session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import CONNECTIONS, HTTP, LARGE, PAGE, near
from bench.contenders.proxies import suits
from bench.measures.base import Row
from bench.placement import apart
from bench.programs import CC, NGINX
from bench.usage import spending
from bench.way import CONNECT, FORWARD, SOCKS5, TUNNEL

if TYPE_CHECKING:
    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.scale import Scale


class _Measure:
    """Pages fetched by asking the proxy by *method*; a relayed session is plain, and comes without.

    *row* has the contender's own CPU.
    """

    needs = (CC, NGINX)
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def __init__(self, name: str, row: Row, method: str) -> None:
        self.name = name
        self.row = row
        self.method = method
        self._machine = row._replace(name=f"{row.name}, whole machine")

    def rows(self, scale: Scale) -> list[Row]:
        """The contender's CPU, and the machine's."""
        return [self.row, self._machine]

    def suits(self, contender: Contender) -> bool:
        """Every contender that can be asked so."""
        return suits(self.method, contender)


class Asked(_Measure):
    """CPU per page, by connections that are for one of them or, if they are to *keep*, for many."""

    def __init__(self, name: str, what: str, method: str, *, keep: bool) -> None:
        super().__init__(name, Row(f"CPU per {what}", "µs"), method)
        self.keep = keep

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by pages."""
        bed.serve_http()
        with contender.start(bed) as running, spending(running.programs) as spent:
            way = running.way(self.method, HTTP)
            done = bed.visit(way, PAGE, CONNECTIONS, scale.load, keep=self.keep)
        return {
            self.row: spent.contender / done.requests * 1e6,
            self._machine: spent.machine / done.requests * 1e6,
        }


class Large(_Measure):
    """CPU per gigabyte (10⁹ bytes) that one client downloads, and bits per second."""

    def __init__(self, name: str, what: str, method: str) -> None:
        super().__init__(name, Row(f"CPU per GB {what}", "s", 2), method)
        self._rate = Row(f"throughput {what}", "Gbit/s")

    def rows(self, scale: Scale) -> list[Row]:
        """CPU and throughput."""
        return [*super().rows(scale), self._rate]

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by bytes."""
        bed.serve_http()
        with contender.start(bed) as running, spending(running.programs) as spent:
            way = running.way(self.method, HTTP)
            done = bed.visit(way, LARGE, 1, scale.load, keep=True)
        return {
            self.row: spent.contender / done.octets * 1e9,
            self._machine: spent.machine / done.octets * 1e9,
            self._rate: done.octets / done.seconds * 8 / 1e9,
        }


BY_CONNECT = Asked("connect", "CONNECT connection", CONNECT, keep=False)
BY_SOCKS5 = Asked("socks5", "SOCKS5 connection", SOCKS5, keep=False)
FORWARDED = Asked("forward", "forwarded request", FORWARD, keep=True)
FORWARDED_ONCE = Asked("forward-once", "connection with a forwarded request", FORWARD, keep=False)
IN_TUNNEL = Asked("tunnel", "request in a tunnel", TUNNEL, keep=True)
LARGE_IN_TUNNEL = Large("tunnel-bulk", "in a tunnel", TUNNEL)
LARGE_FORWARDED = Large("forward-bulk", "of a forwarded answer", FORWARD)
