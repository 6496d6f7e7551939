"""Queries for names: dnsperf, against what answers for them on the gateway."""

from __future__ import annotations

import random
import re
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench import ends
from bench.bed import FIRST_CALLER, near
from bench.contenders.resolvers import Resolver
from bench.errors import MeasureError
from bench.measures.base import Row
from bench.placement import anywhere, apart
from bench.programs import DNSPERF, NAMED, path
from bench.usage import spending
from faith.lab.topology import CLIENT, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.bed import Bed, Build
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.scale import Scale

OTHERS = Row("others' uncached names answered during a flood", "%")
OWN = Row("uncached names of the client that floods", "%")

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


_DEAD_PER_SECOND = 1_000
_LIVE_PER_SECOND = 50
_BEFORE = 2.0
"""Seconds that the flood goes on before anything else is asked."""
_PATIENCE = 5
"""Seconds until a client gives up."""


def rate(names: int, workers: int = 1) -> Row:
    """Queries a second for so many names that are known, or for 0, unknown ones."""
    return Row(f"queries {_what(names, workers)}", "1/s", 0)


def cpu(names: int, workers: int = 1) -> Row:
    """CPU per query for them."""
    return Row(f"CPU per query {_what(names, workers)}", "µs")


def _what(names: int, workers: int) -> str:
    what = f"for {names:,} cached names" if names else "for names that are not cached"
    return what if workers == 1 else f"{what}, two workers"


class Asked(NamedTuple):
    """What dnsperf got answered."""

    queries: int
    per_second: float


class Queries:
    """Queries in random order for *cached* names that have all been asked for before.

    None *cached*: for names that nobody has asked for.  One worker has a CPU to itself.
    """

    needs = (DNSPERF, NAMED)
    build: Build = staticmethod(near)

    def __init__(self, cached: int = 0, workers: int = 1) -> None:
        self.name = f"cached-{cached}" if cached else "missed"
        self.name += f"-{workers}" if workers > 1 else ""
        self.placement = apart if workers == 1 else anywhere
        self._workers = workers
        self._rate = rate(cached, workers)
        self._cpu = cpu(cached, workers)
        self._known = [f"n{number}" for number in range(cached)]

    def rows(self, scale: Scale) -> list[Row]:
        """How many, and at what cost."""
        return [self._rate, self._cpu]

    def suits(self, contender: Contender) -> bool:
        """Every contender that answers for names, and has workers if there are to be several."""
        return isinstance(contender, Resolver) and (self._workers == 1 or contender.scales)

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by queries."""
        assert isinstance(contender, Resolver)
        kind = "A" if contender.plain else "AAAA"
        with _served(bed, self._known), contender.start(bed, self._workers) as running:
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


class Flooded:
    """Uncached names that somebody asks for while a client asks for many that nobody answers for.

    What counts is the part of them that is answered within the time clients wait.
    """

    name = "flooded"
    needs = (DNSPERF,)
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def rows(self, scale: Scale) -> list[Row]:
        """Those of another client, and those of the same."""
        return [OTHERS, OWN]

    def suits(self, contender: Contender) -> bool:
        """Every contender, if it is one that answers for names."""
        return isinstance(contender, Resolver)

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """Ask as another client, and as the same, while the flood goes on."""
        assert isinstance(contender, Resolver)
        kind = "A" if contender.plain else "AAAA"
        seconds = max(scale.load, 1.0)
        count = int(_DEAD_PER_SECOND * (_BEFORE + 2 * (seconds + _PATIENCE)))
        dead = _written(bed, "dead", [f"{number}" for number in range(count)], kind, "dead")
        found = {}
        command = ends.command("names", SERVER, _PORT)
        with _serving(bed, command), contender.start(bed) as running:
            flood = bed.start(
                bed.lab.client,
                [
                    *(path(DNSPERF), "-s", running.target, "-d", str(dead), "-n", "1", "-c", "20"),
                    *("-Q", str(_DEAD_PER_SECOND), "-q", "60000", "-t", "1", "-a", FIRST_CALLER),
                ],
            )
            time.sleep(_BEFORE)
            for row, source in ((OTHERS, CLIENT), (OWN, FIRST_CALLER)):
                live = int(_LIVE_PER_SECOND * seconds)
                names = [f"{number}.{source.count(':')}" for number in range(live)]
                queries = _written(bed, "live", names, kind, "new")
                found[row] = self._answered(bed, running.target, queries, source)
            flood.terminate()
            flood.wait(_START)
        return found

    def _answered(self, bed: Bed, server: str, queries: Path, source: str) -> float:
        rate = ("-Q", str(_LIVE_PER_SECOND), "-q", "10000", "-t", str(_PATIENCE), "-n", "1")
        argv = [path(DNSPERF), "-s", server, "-d", str(queries), "-a", source, *rate]
        output = bed.lab.client.run(argv, timeout=90).stdout
        answered = _number(output, "Response codes: +NOERROR", 0)
        return 100 * answered / _number(output, "Queries sent:")


@contextmanager
def _served(bed: Bed, names: Sequence[str]) -> Iterator[None]:
    """Have the origin answer for *names*, and for all in ``new``."""
    (bed.directory / "zone").write_text(_ZONE + "".join(f"{name} A 192.0.2.1\n" for name in names))
    configuration = bed.directory / "authority.conf"
    configuration.write_text(
        _AUTHORITY.format(directory=bed.directory, address=SERVER, zone="zone")
    )
    with _serving(bed, [path(NAMED), "-g", "-n", "1", "-c", str(configuration)]):
        yield


@contextmanager
def _serving(bed: Bed, command: list[str]) -> Iterator[None]:
    """Run a name server on the origin until the block ends: another one may share its port."""
    program = bed.start(bed.lab.server, command)
    try:
        bed.lab.server.wait_listening(_PORT, socket.AF_INET, "udp", _START, program)
        yield
    finally:
        program.terminate()
        program.wait(_START)


def _written(bed: Bed, name: str, names: Sequence[str], kind: str, domain: str = "example") -> Path:
    file = bed.directory / name
    file.write_text("".join(f"{owner}.{domain} {kind}\n" for owner in names))
    return file


def _ask(bed: Bed, server: str, queries: Path, *how: str) -> Asked:
    """Have the client send *queries* from 20 sockets.  Raises MeasureError."""
    argv = [path(DNSPERF), "-s", server, "-d", str(queries), "-c", "20", "-q", "200", *how]
    return _asked(bed.lab.client.run(argv, timeout=90).stdout)


def _asked(output: str) -> Asked:
    sent, completed = _number(output, "Queries sent:"), _number(output, "Queries completed:")
    answered = _number(output, "Response codes: +NOERROR")
    if not answered or sent - answered > _LOST * sent:
        raise MeasureError(f"dnsperf: {answered:.0f} answers to {sent:.0f} queries")
    return Asked(int(completed), _number(output, "Queries per second:"))


def _number(output: str, what: str, missing: float | None = None) -> float:
    found = re.search(rf"{what}\W+([\d.]+)", output)
    if not found and missing is not None:
        return missing
    if not found:
        raise MeasureError(f"dnsperf: {' '.join(output.split())[-200:] or 'no output'}")
    return float(found[1])
