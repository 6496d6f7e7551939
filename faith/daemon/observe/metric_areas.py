"""The numbers of all processes of a daemon, in memory that they share; each process has a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.observe import health
from faith.daemon.observe.health import Condition
from faith.datagram.ping import ping_counters
from faith.datagram.udp import udp_counters
from faith.dns import dns_counters
from faith.kernel.shared.old_counters import Past
from faith.kernel.shared.shared_counters import Area
from faith.relay.tcp import relay_counters
from faith.relay.tcp.relay_counters import Counters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

NAME_SERVERS = 64
"""Places of processes that answer for names; when these are more, some share."""


class Places:
    """Those of so many *workers*, of name servers, of ping and UDP, and of the supervisor.

    Whoever takes the place of another goes on with its numbers.  What the program before this one
    has *left*, its `state`, is counted as well: the processes of that one still write there, those
    of the one before it do not.
    """

    def __init__(self, workers: int, left: Sequence[Mapping[str, Any]] = ()) -> None:
        self._workers = workers
        self._ping, self._udp = workers + NAME_SERVERS, workers + NAME_SERVERS + 1
        layouts = (
            relay_counters.LAYOUT,
            dns_counters.LAYOUT,
            ping_counters.LAYOUT,
            udp_counters.LAYOUT,
            health.LAYOUT,
        )
        pasts = [Past(one, layouts) for one in left]
        self._past = pasts.pop() if pasts else None
        self.area = Area(layouts, workers + NAME_SERVERS + 3, self._past)
        """All of it, for who only reads."""
        self.condition = Condition(self.area.slab(self.area.places - 1, health.LAYOUT))
        for past in pasts:
            self.area.settle(past)
            past.forsake()

    def worker(self, number: int) -> Counters:
        """Those of a worker."""
        return Counters(self.area.slab(number, relay_counters.LAYOUT))

    def name_server(self, number: int) -> dns_counters.Counters:
        """Those of a process that answers for names."""
        place = self._name_server(number)
        return dns_counters.Counters(self.area.slab(place, dns_counters.LAYOUT))

    def ping(self) -> ping_counters.Counters:
        """Those of the process that answers pings; nobody else has any of that kind."""
        return ping_counters.Counters(self.area.slab(self._ping, ping_counters.LAYOUT))

    def udp(self) -> udp_counters.Counters:
        """Those of the process that relays UDP; nobody else has any of that kind."""
        return udp_counters.Counters(self.area.slab(self._udp, udp_counters.LAYOUT))

    # -- in a forked process: from then on it can write its own numbers, and no others -----------

    def enter_worker(self, number: int) -> None:
        """Be a worker."""
        self.area.enter(number)

    def enter_name_server(self, number: int) -> None:
        """Be a process that answers for names."""
        self.area.enter(self._name_server(number))

    def enter_ping(self) -> None:
        """Be the process that answers pings."""
        self.area.enter(self._ping)

    def enter_udp(self) -> None:
        """Be the process that relays UDP."""
        self.area.enter(self._udp)

    def _name_server(self, number: int) -> int:
        return self._workers + number % NAME_SERVERS

    def open_sessions(self) -> int:
        """The sessions of all workers."""
        return self.area.total(
            relay_counters.LAYOUT, relay_counters.LAYOUT.start(relay_counters.OPEN)
        )

    def old_worker_gone(self, number: int) -> None:
        """A worker of the program before this one has ended, with what sessions it still had."""
        if self._past is not None:
            layout = relay_counters.LAYOUT
            lost = layout.cells(relay_counters.SESSIONS)[relay_counters.LOST]
            self._past.move(number, layout, layout.start(relay_counters.OPEN), lost)

    # -- from one program to the next --------------------------------------------------------

    def state(self) -> list[Mapping[str, Any]]:
        """What the next program goes on counting from, fit for JSON."""
        return [one.state() for one in self._parts()]

    def descriptors(self) -> Iterator[int]:
        """Those that are in the state."""
        for one in self._parts():
            yield from one.descriptors()

    def forsake(self) -> None:
        """Let go of what is there for the next program, in a process that only counts."""
        for one in self._parts():
            one.forsake()

    def _parts(self) -> Iterator[Past | Area]:
        if self._past is not None:
            yield self._past
        yield self.area
