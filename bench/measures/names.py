"""Queries for names: dnsperf, against what answers for them on the gateway."""

from __future__ import annotations

import random
import re
import socket
from typing import TYPE_CHECKING, NamedTuple

from bench.bed import near
from bench.contenders.resolvers import Resolver
from bench.errors import MeasureError
from bench.measures.base import Row
from bench.placement import apart
from bench.programs import DNSPERF, NAMED, path
from bench.usage import spending
from faith.lab.topology import SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.scale import Scale

MISS_RATE = Row("queries that are not cached", "1/s", 0)
MISS_CPU = Row("CPU per query that is not cached", "µs")

_PORT = 53
_START = 10.0
_FRESH_PER_SECOND = 20_000
"""Names that nobody has asked for yet: more than anybody finds."""
_LOST = 0.01
"""The part of the queries that may get no answer."""
_AUTHORITY = """\
options {{
    directory "{directory}";
    listen-on {{ {address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    pid-file none;
    session-keyfile none;
}};
controls {{ }};
zone "example" {{ type master; file "{zone}"; }};
"""
_ZONE = """\
$TTL 86400
@ SOA ns host 1 3600 1200 604800 86400
@ NS ns
ns A 192.0.2.80
*.new A 198.51.100.1
"""


def rate(names: int) -> Row:
    """Queries a second for so many names that are known."""
    return Row(f"queries for {names:,} cached names", "1/s", 0)


def cpu(names: int) -> Row:
    """CPU per query for them."""
    return Row(f"CPU per query for {names:,} cached names", "µs")


class Asked(NamedTuple):
    """What dnsperf got answered."""

    queries: int
    per_second: float


class Queries:
    """Queries in random order for *cached* names that have all been asked for before.

    None *cached*: for names that nobody has asked for.
    """

    needs = (DNSPERF, NAMED)
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def __init__(self, cached: int = 0) -> None:
        self.name = f"cached-{cached}" if cached else "missed"
        self._rate = rate(cached) if cached else MISS_RATE
        self._cpu = cpu(cached) if cached else MISS_CPU
        self._known = [f"n{number}" for number in range(cached)]

    def rows(self, scale: Scale) -> list[Row]:
        """How many, and at what cost."""
        return [self._rate, self._cpu]

    def suits(self, contender: Contender) -> bool:
        """Every contender, if it is one that answers for names."""
        return isinstance(contender, Resolver)

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by queries."""
        assert isinstance(contender, Resolver)
        kind = "A" if contender.plain else "AAAA"
        _serve(bed, self._known)
        with contender.start(bed) as running:
            if self._known:
                once = _written(bed, "once", self._known, kind)
                _ask(bed, running.target, once, "-n", "1", "-q", "20")
            queries = _written(bed, "queries", self._names(scale.load), kind)
            with spending(running.programs) as spent:
                asked = _ask(bed, running.target, queries, "-l", str(scale.load))
        return {
            self._rate: asked.per_second,
            self._cpu: spent.contender / asked.queries * 1e6,
        }

    def _names(self, seconds: float) -> list[str]:
        if self._known:
            return random.Random(1).choices(self._known, k=10 * len(self._known))
        return [f"{number}.new" for number in range(int(_FRESH_PER_SECOND * max(seconds, 1)))]


def _serve(bed: Bed, names: Sequence[str]) -> None:
    """Have the origin answer for *names*, and for all in ``new``."""
    (bed.directory / "zone").write_text(_ZONE + "".join(f"{name} A 192.0.2.1\n" for name in names))
    configuration = bed.directory / "authority.conf"
    configuration.write_text(
        _AUTHORITY.format(directory=bed.directory, address=SERVER, zone="zone")
    )
    program = bed.start(bed.lab.server, [path(NAMED), "-g", "-n", "1", "-c", str(configuration)])
    bed.lab.server.wait_listening(_PORT, socket.AF_INET, "udp", _START, program)


def _written(bed: Bed, name: str, names: Sequence[str], kind: str) -> Path:
    file = bed.directory / name
    file.write_text("".join(f"{owner}.example {kind}\n" for owner in names))
    return file


def _ask(bed: Bed, server: str, queries: Path, *how: str) -> Asked:
    """Have the client send *queries* from 20 sockets.  Raises MeasureError."""
    argv = [path(DNSPERF), "-s", server, "-d", str(queries), "-c", "20", "-q", "200", *how]
    return _asked(bed.lab.client.run(argv, timeout=90).stdout)


def _asked(output: str) -> Asked:
    def number(what: str) -> float:
        found = re.search(rf"{what}\W+([\d.]+)", output)
        if not found:
            raise MeasureError(f"dnsperf: {' '.join(output.split())[-200:] or 'no output'}")
        return float(found[1])

    sent, completed = number("Queries sent:"), number("Queries completed:")
    answered = number("Response codes: +NOERROR")
    if not answered or sent - answered > _LOST * sent:
        raise MeasureError(f"dnsperf: {answered:.0f} answers to {sent:.0f} queries")
    return Asked(int(completed), number("Queries per second:"))
