"""The numbers of all processes of a daemon, in memory that they share; each process has a place."""

from __future__ import annotations

from faith.daemon import condition
from faith.daemon.condition import Condition
from faith.datagram import ping_counters
from faith.dns import counters as dns_counters
from faith.kernel.tally import Area
from faith.relay import counters
from faith.relay.counters import Counters

NAME_SERVERS = 64
"""Places of processes that answer for names; when these are more, some share."""


class Places:
    """Those of so many *workers*, of name servers, and of the supervisor, which comes last.

    Whoever takes the place of another goes on with its numbers.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        layouts = counters.LAYOUT, dns_counters.LAYOUT, ping_counters.LAYOUT, condition.LAYOUT
        self.area = Area(layouts, workers + NAME_SERVERS + 1)
        """All of it, for who only reads."""
        self.condition = Condition(self.area.slab(self.area.places - 1, condition.LAYOUT))

    def worker(self, number: int) -> Counters:
        """Those of a worker."""
        return Counters(self.area.slab(number, counters.LAYOUT))

    def name_server(self, number: int) -> dns_counters.Counters:
        """Those of a process that answers for names."""
        place = self._workers + number % NAME_SERVERS
        return dns_counters.Counters(self.area.slab(place, dns_counters.LAYOUT))

    def ping(self) -> ping_counters.Counters:
        """Those of the process that answers pings; nobody else has any of that kind."""
        return ping_counters.Counters(self.area.slab(0, ping_counters.LAYOUT))

    def open_sessions(self) -> int:
        """The sessions of all workers."""
        return self.area.total(counters.LAYOUT, counters.LAYOUT.start(counters.OPEN))
