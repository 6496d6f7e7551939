"""The brain of the kernel path: it decides about first packets, and records and ends flows.

The program in the kernel translates everything else.  A dead brain's flows go on; the next one
finds them in the maps.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.flow.brain_handover import BrainHandover
from faith.flow.fallen import Fallen
from faith.flow.flow_ends import FlowEnds
from faith.flow.flow_errors import FlowErrors
from faith.flow.flow_output import FlowOutput
from faith.flow.flow_table import FlowTable
from faith.flow.flow_view import NO_REPORTS, RECORDED, FlowView
from faith.flow.judge import Judge
from faith.flow.opening import Opening
from faith.flow.route_cache import RouteCache
from faith.flow.route_watch import RouteWatch
from faith.flow.sweep import Sweep
from faith.flow.turns import Turns
from faith.kernel.flow.layout import CLOSE
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.translation.address import from_packed
from faith.translation.reasons import KILLED, PREFIX_GONE, STOPPED

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Collection, Iterable, Iterator

    from faith.flow.flow_counters import FlowCounters
    from faith.flow.flow_settings import FlowSettings
    from faith.flow.flow_view import FlowReports
    from faith.kernel.flow.flow_maps import FlowMaps
    from faith.kernel.flow.layout import Slot
    from faith.kernel.sockets.flow_sockets import FlowSockets
    from faith.translation.destination import Policy

TICK = 0.25
ATTENDED = 1_000_000_000
"""Nanoseconds for which each tick promises that SYNs are attended to."""
_HALF_OPEN_TICKS, _SILENT_TICKS = 20, 60
"""Ticks from one sweep of half-open flows, and of silent ones, to the next."""

_REROUTE_TICKS = 2400
"""Ticks until the ways of all flows are those of the routes again, whatever ICMPv6 errors have
said: ten minutes (RFC 8201 §4)."""

REROUTE = 1.0
"""Seconds from one look at the ways of all flows to the next, however often routes change."""

EVENTS = 256
"""Events handled before others have their turn."""
_PORTION = 256
"""Flows looked at in one turn."""

RATE, BURST = 20000.0, 5000
"""SYNs a second, and at once, that the program hands over: more would only fill the queue."""
RATE_PER_CLIENT, BURST_PER_CLIENT = 15000.0, 4000
_ABOVE = 2
"""How far above a limit in the settings the program drops SYNs that nobody has answered."""


class Brain:
    """Opens, records and ends the flows in *maps*; see `FlowSockets` for the *sockets*."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        policy: Policy,
        sockets: FlowSockets,
        maps: FlowMaps,
        settings: FlowSettings,
        counters: FlowCounters,
        reports: FlowReports = NO_REPORTS,
        taken: Collection[bytes] = (),
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._maps = maps
        self._counters = counters
        self._watch = RouteWatch.create()
        self._routing = Netlink.create(NETLINK_ROUTE)
        self._judge = Judge(policy, settings, RouteCache(self._routing))
        self._table = FlowTable(maps, settings, taken)
        self._output = FlowOutput(sockets, counters, settings.client_length)
        self._ends = FlowEnds(self._table, self._output, counters, reports)
        shared = self._table, self._ends, self._output
        self._opening = Opening(sockets.syns, self._judge, *shared, counters, reports)
        self._fallen = Fallen(sockets.fallen, *shared, counters)
        self._errors = FlowErrors(self._table, self._judge, self._ends, self._output)
        self._sweep = Sweep(self._table, self._ends, self._output)
        self._turns = Turns(loop)
        self._ticker: TimerHandle | None = None
        self._ticks = 0
        self._counted: dict[str, int] = {}  # by the program, in all
        self.drains = False
        """True if no more flows are opened."""
        self._attended = 0
        """Until when SYNs are promised to be attended to, in nanoseconds."""
        self._has_served = False
        self._rerouter: TimerHandle | None = None
        self._has_changed = False  # routes, since flows were rerouted
        self.handover = BrainHandover(self._table, self._ends, self.serve)
        """The part of the state that is not in the maps, for the brain of another process."""
        self.outlives = False
        """True if flows go on without any process of this daemon."""

    # -- the server --------------------------------------------------------------------------

    def serve(self) -> None:
        """Go on with the flows in the maps, and start to read; does nothing if it has started."""
        if self._ticker:
            return
        self._has_served = True
        self._counted = self._maps.counters()
        now = time.monotonic_ns()
        self._ends.closing.clear()
        for number in self._table.restore():
            self._ends.closed(number, self._maps.generation_of(number), now)
        self._tell_program()
        add = self._loop.add_reader
        add(self._sockets.syns.fileno(), self._read_syns)
        add(self._sockets.fallen.fileno(), self._fallen.read)
        add(self._maps.fileno(), self._read_events)
        add(self._watch.fileno(), self._routes_changed)
        self._judge.routes.clear()
        self._judge.clear()
        self._turns.run("reroute", self._reroute())
        self._tick()

    def close(self) -> None:
        """Stop reading, when no SYN waits any more: later ones are left to the stack."""
        if not self._ticker:
            return
        self._ticker.cancel()
        self._ticker = None
        if self._rerouter:
            self._rerouter.cancel()
            self._rerouter = None
        self._leave_syns()
        self._counters.flows(0, 0, 0)  # another process counts them from now on
        self._turns.stop()
        for source in (self._sockets.syns, self._sockets.fallen, self._maps, self._watch):
            self._loop.remove_reader(source.fileno())

    def drain(self) -> None:
        """Open no flow from now on: another process does, beside this one."""
        self._leave_syns()
        self.drains = True
        for log in (self._sockets.syns, self._sockets.fallen):
            self._loop.remove_reader(log.fileno())

    def end(self) -> None:
        """End the flows that are left as stopped: the daemon ends.

        Does nothing where another process goes on with them, or still has them.
        """
        self.close()
        if self._has_served and self.handover.left:
            self._ends.end(self._maps.used(), STOPPED)
        self._watch.close()
        self._routing.close()

    def leave(self) -> None:
        """Leave the flows to another brain, if they go on without a process; else end them."""
        if self.outlives:
            self.close()
        else:
            self.end()

    @property
    def policy(self) -> Policy:
        """The policy that decides about new flows; those by a prefix that is gone end with it."""
        return self._judge.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        before, self._judge.policy = self._judge.policy, policy
        self._judge.clear()
        if before.prefixes != policy.prefixes:
            if self._ticker:
                self._tell_program()
            self._turns.run("prefixes", self._end_gone())

    def configure(self, settings: FlowSettings) -> None:
        """Apply other *settings* to new flows, and their times to all."""
        self._table.settings = self._judge.settings = settings
        self._opening.rates.limit(settings)
        self._output.limit(settings.client_length)
        if self._ticker:
            self._tell_program()
            self._turns.run("reroute", self._reroute())

    def _tell_program(self) -> None:
        settings, maps = self._judge.settings, self._maps
        maps.set_prefixes((prefix.address, prefix.length) for prefix in self.policy.prefixes)
        maps.set_ports(settings.services)
        each, rate = settings.rate_per_client * _ABOVE, settings.rate * _ABOVE
        maps.configure(
            client_rate=min(each or RATE_PER_CLIENT, RATE_PER_CLIENT),
            client_burst=BURST_PER_CLIENT,
            rate=min(rate or RATE, RATE),
            burst=BURST,
            client_length=settings.client_length,
        )

    # -- for operators -----------------------------------------------------------------------

    @property
    def count(self) -> int:
        """The number of open flows."""
        return self._table.open.taken

    def fill(self) -> tuple[int, int]:
        """Return how many flows are open, and how many may be."""
        return self._table.open.fill()

    def fill_half_open(self) -> tuple[int, int]:
        """Return how many flows may be half-open, and how many really may be."""
        return len(self._table.half_open), self._table.half_open.most

    def sessions(self) -> Iterator[FlowView]:
        """Return the open flows."""
        now = time.monotonic_ns()
        for number in self._maps.used():
            slot = self._maps.read(number)
            if slot.started and not slot.state & RECORDED:  # it may have ended meanwhile
                yield FlowView(slot, now)

    def kill(self, serials: Iterable[int]) -> int:
        """End the open flows with these *serials*, and return how many there were."""
        wanted = set(serials)
        used = self._maps.used() if self._ticker else ()
        found = [number for number in used if self._maps.generation_of(number) in wanted]
        is_open = [number for number in found if self._ends.is_open(number)]
        self._ends.end(is_open, KILLED)
        return len(is_open)

    # -- input -------------------------------------------------------------------------------

    def _read_syns(self) -> None:
        if time.monotonic_ns() > self._attended:
            self._opening.leave()
        else:
            self._opening.read()

    def _attend(self, now: int) -> None:
        """Promise again to attend to SYNs.

        If the last promise has not been kept, clients have repeated SYNs that wait, and the relay
        has them: no flow may begin that takes the packets of its sessions.
        """
        if now > self._attended:
            self._opening.leave()
        self._attended = now + ATTENDED
        self._maps.heartbeat(self._attended)

    def _leave_syns(self) -> None:
        """Leave SYNs to the stack from now on, when those that wait have their flows."""
        if not self.drains:
            self._maps.heartbeat(0)
            while time.monotonic_ns() <= self._attended and self._opening.read():
                pass
            self._attended = 0

    def _read_events(self) -> None:
        now = time.monotonic_ns()
        for event in self._maps.events(EVENTS):
            if event.kind == CLOSE:
                self._ends.closed(event.slot, event.generation, now)
            else:
                self._errors.handle(event)

    def _routes_changed(self) -> None:
        if self._watch.changed():
            self._judge.routes.clear()
            self._judge.clear()
            if self._rerouter is None:
                self._turns.run("reroute", self._reroute())
                self._rerouter = self._loop.call_later(REROUTE, self._reroute_again)
            else:
                self._has_changed = True

    def _reroute_again(self) -> None:
        self._rerouter = None
        if self._has_changed:
            self._has_changed = False
            self._turns.run("reroute", self._reroute())
            self._rerouter = self._loop.call_later(REROUTE, self._reroute_again)

    # -- time --------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic_ns()
        if not self.drains:
            self._attend(now)
        self._turns.run("expire", self._expire())
        self._counters.flows(self.count, len(self._table.ports.resting), self._table.open.limit)
        before, self._counted = self._counted, self._maps.counters()
        self._counters.program(before, self._counted)
        self._ticks += 1
        if self._ticks % _HALF_OPEN_TICKS == 0:
            self._turns.run("half-open", self._sweep.half_open(now))
        if self._ticks % _SILENT_TICKS == 0:
            self._turns.run("silent", self._sweep.silent(now))
        if self._ticks % _REROUTE_TICKS == 0:
            self._turns.run("reroute", self._reroute())
        self._ticker = self._loop.call_later(TICK, self._tick)

    def _expire(self) -> Iterator[None]:
        while self._ends.expire(time.monotonic_ns()):
            yield

    # -- open flows --------------------------------------------------------------------------

    def _open_flows(self) -> Iterator[list[tuple[int, Slot]]]:
        """Yield the open flows, a portion at a time."""
        used = self._maps.used()
        for at in range(0, len(used), _PORTION):
            some = ((n, self._maps.read(n)) for n in used[at : at + _PORTION])
            yield [(n, slot) for n, slot in some if slot.started and not slot.state & RECORDED]

    def _reroute(self) -> Iterator[None]:
        """Have open flows go by the ways that the kernel's routes lead now."""
        for portion in self._open_flows():
            for number, slot in portion:
                ways = self._judge.ways_of(slot)
                if ways is not None and ways != slot[7:9] + slot[11:15]:
                    self._maps.reroute(number, *ways)
            yield

    def _end_gone(self) -> Iterator[None]:
        """End the flows whose mapped address the policy maps no more, or to another server."""
        for portion in self._open_flows():
            self._ends.end([n for n, slot in portion if self._is_gone(slot)], PREFIX_GONE)
            yield

    def _is_gone(self, slot: Slot) -> bool:
        mapped = from_packed(slot.mapped)
        prefix = self.policy.prefixes.find(mapped)
        return prefix is None or prefix.unmap(mapped) != from_packed(slot.server)
