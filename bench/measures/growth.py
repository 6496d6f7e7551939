"""Whether a connection costs more when there are many sessions, rules or prefixes.

Every call comes from another address, so that nothing remembered of the one before helps.
"""

from __future__ import annotations

from contextlib import contextmanager
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from bench import ends
from bench.bed import ECHO, FIRST_CALLER, near
from bench.contenders.relay import Relay
from bench.holding import holding
from bench.measures.base import Row
from bench.placement import apart
from bench.usage import settle, spending
from bench.way import TUNNEL
from faith.kernel.netlink.routes import release, reserve
from faith.lab.topology import SERVER
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bench.bed import Bed, Build
    from bench.contenders.base import Contender, Running
    from bench.measures.base import Figures
    from bench.programs import Program
    from bench.scale import Scale

SESSIONS, RULES, PREFIXES = "open sessions", "access rules", "prefixes"

_CLIENTS = "2001:db8:6::/48"
_STEP = 1 << 32
"""From a prefix of /96 to the next."""
_FIRST = int(IPv6Address("2001:db8:ff00::"))


def row(number: int, what: str) -> Row:
    """The row for so many of them."""
    return Row(f"CPU per connection, {what}: {number:,}", "µs")


def steps(scale: Scale, what: str) -> list[int]:
    """The numbers of them to measure at: there can be fewer sessions than rules."""
    most = scale.most_sessions if what == SESSIONS else scale.steps[-1]
    return [min(step, most) for step in scale.steps]


class Growth:
    """The relay's CPU per call, one call at a time, as there are more and more of *what*.

    Each has a bed of its own: the calls leave so many ports in TIME_WAIT that a few more of them
    would have every connect(2) search for a free one.
    """

    needs: tuple[Program, ...] = ()
    build: Build = staticmethod(near)
    placement = staticmethod(apart)

    def __init__(self, what: str) -> None:
        self.name = f"growth-{what.rpartition(' ')[2]}"
        self._what = what
        self._costs = {SESSIONS: _by_sessions, RULES: _by_rules, PREFIXES: _by_prefixes}[what]

    def rows(self, scale: Scale) -> list[Row]:
        """A row for every step."""
        return [row(step, self._what) for step in steps(scale, self._what)]

    def suits(self, contender: Contender) -> bool:
        """The relay: it is asked of itself."""
        return isinstance(contender, Relay)

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """CPU divided by calls."""
        return dict(zip(self.rows(scale), self._costs(bed, scale), strict=True))


def _by_sessions(bed: Bed, scale: Scale) -> Iterator[float]:
    with Relay().start(bed) as running, holding(bed, running.way(TUNNEL, ECHO)) as hold:
        for step in steps(scale, SESSIONS):
            hold(step)
            yield _cost(bed, running, scale.calls)


def _by_rules(bed: Bed, scale: Scale) -> Iterator[float]:
    for step in steps(scale, RULES):
        with Relay(rules=rules(step)).start(bed) as running:
            yield _cost(bed, running, scale.calls)


def _by_prefixes(bed: Bed, scale: Scale) -> Iterator[float]:
    for step in steps(scale, PREFIXES):
        with _reserved(bed, step), Relay(reserves=False).start(bed, target=_mapped()) as running:
            yield _cost(bed, running, scale.calls, step)


def rules(number: int) -> str:
    """The text of an access file with so many rules, the last of which permits our calls.

    The others are of sixteen shapes, as one written by hand might have.
    """
    shapes = [(client, server) for client in (48, 56, 64, 128) for server in (8, 16, 24, 32)]
    lines = []
    for index in range(number - 1):
        client, server = shapes[index % len(shapes)]
        network = IPv6Address((0x20010DB9 << 96) + (index << 80))
        lines.append(f"{network}/{client} deny {10 + index % 100}.0.0.0/{server}")
    return "\n".join([*lines, f"{_CLIENTS} permit {SERVER}", ""])


def _cost(bed: Bed, running: Running, calls: int, prefixes: int = 1) -> float:
    """Microseconds of CPU per call, the calls going to so many prefixes in turn."""
    words = (calls, ECHO, running.target, _STEP, prefixes, FIRST_CALLER)
    settle(running.programs)
    with spending(running.programs) as spent:
        bed.lab.client.run(ends.command("call", *words), timeout=120)
    return spent.contender / calls * 1e6


def _prefixes(number: int) -> Iterable[Prefix]:
    return (Prefix.parse(f"{IPv6Address(_FIRST + index * _STEP)}/96") for index in range(number))


def _mapped() -> str:
    first = next(iter(_prefixes(1)))
    return str(IPv6Address(first.map(int.from_bytes(map(int, SERVER.split("."))))))


@contextmanager
def _reserved(bed: Bed, number: int) -> Iterator[None]:
    def change(verb: Callable[[Prefix], object]) -> None:
        for prefix in _prefixes(number):
            verb(prefix)

    try:
        bed.lab.gateway.call(change, reserve, timeout=60)
        yield
    finally:
        bed.lab.gateway.call(change, release, timeout=60)
