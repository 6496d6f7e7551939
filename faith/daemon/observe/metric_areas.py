"""The shared memory of the metrics of all processes of a daemon, with one slot per process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.observe import (
    health,
    log_counters,
    name_server_numbers,
    own_numbers,
    report_numbers,
)
from faith.daemon.observe.dial_history import DialHistory
from faith.daemon.observe.findings import finding
from faith.daemon.observe.health import RelayHealth
from faith.daemon.observe.log import count_in
from faith.daemon.observe.process_slots import ProcessSlots
from faith.daemon.observe.roles import (
    ADMIN,
    DNS,
    FLOWS,
    PING,
    SUPERVISOR,
    TLS,
    UDP,
    WORKER,
    Role,
    several,
)
from faith.datagram.ping import ping_counters
from faith.datagram.udp import udp_counters
from faith.dns import dns_counters, server_cells
from faith.flow import flow_counters
from faith.kernel.shared.old_counters import OldCounters
from faith.kernel.shared.shared_counters import Area
from faith.relay.tcp import relay_counters
from faith.relay.tcp.relay_counters import Counters
from faith.translation.reasons import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from faith.daemon.observe.status_report import Finding, NameServer

NAME_SERVERS = 64
"""Slots of name server processes; more processes than that share slots."""


class MetricAreas:
    """The slots of *workers* and as many terminators of TLS, of name servers, of ping, UDP, flows,
    the admin listener, and of the supervisor.

    One shared-memory slot per process; a replacement continues its predecessor's counters.  The
    counters in the `state` *left* by the predecessor daemon process are added as well: its children
    still write there, those of the process before it do not.  The latter have a slot of their own.
    """

    def __init__(self, workers: int, left: Sequence[Mapping[str, Any]] = ()) -> None:
        self._workers = workers
        names = range(workers, workers + NAME_SERVERS)
        secured = range(names.stop, names.stop + workers)
        self._secured = secured.start
        places = range(secured.stop, secured.stop + 6)
        self._ping, self._udp, self._flows, self._admin, own, past = places
        layouts = (
            relay_counters.LAYOUT,
            dns_counters.LAYOUT,
            ping_counters.LAYOUT,
            udp_counters.LAYOUT,
            flow_counters.LAYOUT,
            health.LAYOUT,
            log_counters.LAYOUT,
            server_cells.LAYOUT,
            own_numbers.LAYOUT,
        )
        older = [OldCounters(one, layouts) for one in left]
        self._old = older.pop() if older else None
        self.area = Area(layouts, places.stop, self._old)
        """The whole memory, for readers."""
        self.slots = ProcessSlots(
            self.area,
            (
                Role(SUPERVISOR, own),
                *several(WORKER, range(workers)),
                *several(DNS, names),
                *several(TLS, secured),
                *(Role(PING, self._ping), Role(UDP, self._udp), Role(FLOWS, self._flows)),
                Role(ADMIN, self._admin),
            ),
        )
        """The same by the roles of the processes."""
        self.dials = DialHistory(self.area)
        """The times that dialling took."""
        self.condition = RelayHealth(self.area.slab(own, health.LAYOUT))
        self.condition.configured()
        for old in older:
            self.area.settle(old, past)
            old.close()
        self._write(own)

    def worker(self, number: int) -> Counters:
        """Return the counters of a worker."""
        return Counters(self.area.slab(number, relay_counters.LAYOUT))

    def name_server(self, number: int) -> dns_counters.Counters:
        """Return the counters of a name server process."""
        place = self._name_server(number)
        return dns_counters.Counters(self.area.slab(place, dns_counters.LAYOUT))

    def ping(self) -> ping_counters.PingCounters:
        """Return the counters of the one process that translates pings."""
        return ping_counters.PingCounters(self.area.slab(self._ping, ping_counters.LAYOUT))

    def udp(self) -> udp_counters.UdpCounters:
        """Return the counters of the one process that relays UDP."""
        return udp_counters.UdpCounters(self.area.slab(self._udp, udp_counters.LAYOUT))

    def flows(self) -> flow_counters.FlowCounters:
        """Return the counters of the one process that decides about flows."""
        return flow_counters.FlowCounters(self.area.slab(self._flows, flow_counters.LAYOUT))

    # -- in a forked process: from then on it can write its own slot, and no others --------------

    def enter_worker(self, number: int) -> None:
        """Become a worker."""
        self._enter(number)

    def enter_name_server(self, number: int) -> dns_counters.Counters:
        """Become a name server process; return its counters."""
        return name_server_numbers.enter(self.area, self._name_server(number))

    def enter_terminator(self, number: int) -> None:
        """Become a process that terminates TLS for proxies."""
        self._enter(self._secured + number)

    def enter_admin(self) -> None:
        """Become the admin listener."""
        self._enter(self._admin)

    def enter_ping(self) -> None:
        """Become the process that translates pings."""
        self._enter(self._ping)

    def enter_udp(self) -> None:
        """Become the process that relays UDP."""
        self._enter(self._udp)

    def enter_flows(self) -> None:
        """Become the process that decides about flows."""
        self._enter(self._flows)

    def _enter(self, place: int) -> None:
        self.area.enter(place)
        self._write(place)

    def _write(self, place: int) -> None:
        """Count the log lines of this process, and write its own numbers, in its slot."""
        count_in(self.area.slab(place, log_counters.LAYOUT))
        own_numbers.write_in(self.area.slab(place, own_numbers.LAYOUT))

    def only_read(self) -> None:
        """Write no slot but the one that was entered, and nothing of the predecessor process."""
        self.area.enter(None)
        if self._old is not None:
            self._old.only_read()

    def _name_server(self, number: int) -> int:
        return self._workers + number % NAME_SERVERS

    def open_sessions(self) -> int:
        """Return the number of open sessions of all workers, and of open flows."""
        relayed = self.area.total(
            relay_counters.LAYOUT, relay_counters.LAYOUT.start(relay_counters.OPEN)
        )
        return relayed + self.open_flows()

    def open_flows(self) -> int:
        """Return the number of open flows of the kernel path."""
        return self.area.total(flow_counters.LAYOUT, flow_counters.LAYOUT.start(flow_counters.OPEN))

    def lost_log_lines(self) -> int:
        """Return the number of log lines that all processes have lost."""
        return self.area.total(log_counters.LAYOUT, log_counters.LOST)

    def worker_gone(self, number: int) -> None:
        """Count the sessions and log lines that a worker still had when it ended as lost."""
        self.worker(number).lost()
        log_counters.settle(self.area.slab(number, log_counters.LAYOUT))

    def findings(self) -> Iterator[Finding]:
        """Yield what keeps processes from their work now."""
        for leg in self.ping().blocked_legs:
            yield finding("ping-blocked", ping_counters.WARNINGS[leg])
        if lost := self.lost_log_lines():
            text = f"{lost} log line{'s' * (lost > 1)} lost, for which there was no room"
            yield finding("log-lost", text)
        yield from _about_name_servers(report_numbers.name_servers(self.slots))

    def old_worker_gone(self, number: int) -> None:
        """Do so for a worker of the predecessor process."""
        if self._old is not None:
            layout = relay_counters.LAYOUT
            lost = layout.cells(relay_counters.SESSIONS)[LOST]
            self._old.move(number, layout, layout.start(relay_counters.OPEN), lost)
            layout = log_counters.LAYOUT
            self._old.move(number, layout, log_counters.WAITING, log_counters.LOST)

    # -- upgrades ----------------------------------------------------------------------------

    def state(self) -> list[Mapping[str, Any]]:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return [one.state() for one in self._parts()]

    def _parts(self) -> Iterator[OldCounters | Area]:
        if self._old is not None:
            yield self._old
        yield self.area


def _about_name_servers(servers: Sequence[NameServer]) -> Iterator[Finding]:
    """Yield the servers that do not answer."""
    dead = [one for one in servers if not one.healthy]
    for one in dead:
        yield finding("dns-server-dead", f"the name server {one.address} fails: {one.error}")
    if dead and len(dead) == len(servers):
        text = "no name server answers: names are answered from the cache, or not at all"
        yield finding("dns-servers-dead", text, "name others in [dns] forward")
