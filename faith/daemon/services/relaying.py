"""Relaying, from the supervisor's side: what steers connections, and the workers they come to."""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from faith.daemon.config import carried, runtime_maps
from faith.daemon.config.policy import PolicyInputs
from faith.daemon.config.worker_settings import WorkerSettings
from faith.daemon.host.address_conflicts import AddressConflicts
from faith.daemon.host.mapped_networks import MappedNetworks
from faith.daemon.observe.log import NOTICE
from faith.daemon.process.messages import Drain, Serve, Stop
from faith.daemon.process.worker_pool import Crew
from faith.daemon.services.ftp_data import DataConnections
from faith.daemon.services.listener_shares import ListenerShares
from faith.daemon.services.local_service import LocalService
from faith.daemon.services.session_queries import Census
from faith.daemon.services.worker import POLICY, SETTINGS, Task, work
from faith.daemon.upgrade.draining import DrainingWorkers, as_left
from faith.daemon.upgrade.inherited_state import demand
from faith.errors import ConfigError, FaithError, SetupError
from faith.kernel.process import capabilities
from faith.kernel.steering import bring_in, change_ports, route, taken_over
from faith.relay.tcp.admission import Admission, Tables

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from faith.daemon.config.policy import Rules
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.host.socket_activation import PassedSockets
    from faith.daemon.observe.log import Log
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.process.peer import Member
    from faith.kernel.steering import Steering
    from faith.translation.map_table import Maps
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

_LISTED = 10
"""Prefixes that a line of the log names."""


class Relaying:
    """The workers of this process and of the predecessor process, and the policy they relay by.

    Sockets for services that were *passed* are their listeners.  *leave* is called in each worker,
    to release what else is the supervisor's; *told* gets its messages.
    """

    parts: PolicyInputs
    """The inputs of the policy of the workers."""
    steering: Steering

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        places: MetricAreas,
        passed: PassedSockets,
        lent: AddressLeases,
        leave: Callable[[], object],
        told: Log,
    ) -> None:
        self._settings = settings
        self._passed = passed
        self._places = places
        self._lent = lent
        self._leave = leave
        self._log = told
        self.on_policy: Callable[[PolicyInputs], None] = lambda parts: None
        """Called with the inputs of a new policy."""
        self.on_end: Callable[[], None] = lambda: None
        """Called when the last worker has ended after `drain`."""
        self.on_handed_over: Callable[[int], None] = lambda kept: None
        """Called when the workers of the predecessor process have handed over.

        The argument is the number of sessions that stay in these workers to their end; 0 when all
        workers have ended.
        """
        self._undo = ExitStack()
        self._data = DataConnections(
            settings.workers, lambda: self.parts.prefixes, lambda: self.parts.networks
        )
        self._undo.callback(self._data.close)
        hearings = {**self._data.hearings, **LocalService(lambda: self._settings).hearings}
        self.crew = Crew(loop, self._work, hearings)
        self.crew.on_gone = self._ended
        self.crew.on_end = self._member_gone
        self.crew.on_serve = self._workers_changed
        self._shares = ListenerShares(self.crew, settings.workers, self._listeners)
        users = [capabilities.user_number(settings.user)]
        self.conflicts = AddressConflicts(loop)
        self._undo.callback(self.conflicts.close_in_child)
        self.inward = MappedNetworks(
            settings.via, settings.workers, self._shares.share, users, self.conflicts
        )
        self._undo.callback(self.inward.close)
        self.crew.on_late(self._shares.share)
        self.census = Census(loop, self.crew)
        self._predecessors = DrainingWorkers(loop, hearings)
        self._predecessors.crew.on_gone = self._predecessors_gone
        self._predecessors.on_kept = self._handed_over
        self._predecessors.crew.on_end = lambda old: places.old_worker_gone(old.number)
        self._undo.callback(self._let_predecessors_end)
        self._tables = Tables(settings.workers)
        self._change_ports: Callable[[], None] = lambda: None
        self._serves = True  # else not before all workers are ready to
        self._draining = False
        self._hands_over = False

    # -- from its start to its end -----------------------------------------------------------

    def set_up(self, rules: Rules, left: Any, *, on_trial: bool) -> None:
        """Steer the connections here, or adopt the `state` that the predecessor process *left*.

        Raises SetupError.
        """
        settings = self._settings
        if left:
            demand(left["same"], self._same(left["data"]))
        if left and not on_trial:
            self._predecessors.adopt(left["workers"])
        pool = self._lent.networks
        self.parts = PolicyInputs.gather(rules, self._maps(left), settings.sources, pool)
        self.parts.check(self.parts.maps)
        if not self.parts.prefixes:
            log.warning("no prefix is reserved yet: set one up with faith -e -p PREFIX")
        if left:
            self._serves = False
            self.steering = self._undo.enter_context(taken_over(left["steering"]))
            self.steering.deal(settings.workers)
            self._change_ports = change_ports(self.steering, settings.ports, settings.local_ports)
            self._data.resume(left["data"])
            self.inward.take_over(left["inward"])
        else:
            self.steering = self._undo.enter_context(self._bring_in())
        if on_trial:
            return
        if left:
            self.steering.set_prefixes(self.parts.prefixes)
        self._steering_changed()
        self._report_absent([])
        self.inward.start()
        self.inward.follow(self.parts.networks, self.parts.own)

    def _bring_in(self) -> Steering:
        settings = self._settings
        given = self._passed.copies("service")
        own = settings.local_ports
        steering = (
            route.given(given)
            if given
            else bring_in(
                settings.via, settings.ports, self.parts.prefixes, settings.workers, own=own
            )
        )
        steering.deal(settings.workers)
        return steering

    def _same(self, data: dict[str, Any]) -> dict[str, str]:
        """Return the settings that no upgrade can change: inherited sockets depend on them."""
        same = {"way": self._settings.via}
        if data["pairs"]:
            same["workers, when there has been encrypted FTP"] = str(self._settings.workers)
        return same

    def _maps(self, left: Any) -> Maps:
        """Return the maps of the settings, with the run-time changes of the predecessor process."""
        maps = self._settings.maps
        try:
            return runtime_maps.resumed(maps, left["maps"]) if left else maps
        except ConfigError as error:
            log.warning("changes of the maps that are in no file are over: %s", error)
            return maps

    def start(self, on_ready: Callable[[], None]) -> None:
        """Start the workers; *on_ready* is called when all of them could serve.

        Raises SetupError, from here or from the loop.
        """

        def ready() -> None:
            self._shares.start()
            on_ready()

        self.crew.desire(POLICY, cache(self.parts.dumps))
        self._desire_settings()
        self.crew.start(self._settings.workers, ready)

    def serve(self) -> None:
        """Have the workers serve in place of the predecessor process, whose workers hand over."""
        if self._serves:
            return
        self._serves = True
        self.crew.tell(Serve())
        try:
            self._change_ports()
        except SetupError as error:
            log.error("the ports stay what they were: %s", error)
        self._hands_over = True
        workers = self._settings.workers
        self._predecessors.hand_over(lambda number: self.crew.able_in(number % workers))
        if not self._predecessors.crew.pids:  # they have died meanwhile
            self._handed_over()

    @property
    def handing_over(self) -> bool:
        """Return whether workers of the predecessor process are still to hand over."""
        return self._predecessors.hand_over_is_under_way

    def drain(self) -> None:
        """Take no more connections; `on_end` is called after the last session."""
        self._draining = True
        self._shares.stop()
        # Ours too, or the kernel would go on queueing connections that nobody accepts.  What feeds
        # them stays, established sessions may depend on it.
        for listeners in self.steering.listeners:
            for listener in listeners:
                listener.close()
        self.inward.stop_listening()
        self._predecessors.crew.tell(Drain())
        self.crew.tell(Drain())
        self.crew.retire()

    def reset_sessions(self) -> None:
        """End what sessions there are."""
        self._predecessors.crew.tell(Stop())
        self.crew.tell(Stop())

    def close(self) -> None:
        """End the workers at once, and take everything back."""
        self.crew.kill()
        self._undo.close()

    # -- changes -----------------------------------------------------------------------------

    def follow(self) -> None:
        """Go by the prefixes and the addresses that the kernel has now."""
        before = self.parts.prefixes
        try:
            self.inward.look_at_routes()
            parts = self.parts
            self._decide_by(PolicyInputs.gather(parts.rules, parts.maps, parts.sources, parts.pool))
            if self.parts.prefixes != before:
                # The workers know them already when the first connection comes.
                self.steering.set_prefixes(self.parts.prefixes)
                self._steering_changed()
                log.log(NOTICE, "prefixes: %s", _listed(self.parts.prefixes))
        except (FaithError, OSError) as error:
            log.error("a change of the prefixes is not followed: %s", error)

    def take(self, settings: Settings, rules: Rules) -> None:
        """Go by other settings, and other rules."""
        self._settings = settings
        for one in set(runtime_maps.added(self.parts.maps)).difference(settings.maps):
            log.log(NOTICE, "map over, for it is in no file: %s", one)
        try:
            self._decide_by(
                replace(self.parts, rules=rules, maps=settings.maps, sources=settings.sources)
            )
        except (FaithError, OSError) as error:
            log.error("mapped networks are not those of the maps: %s", error)
        self._desire_settings()

    def map(self, maps: Maps) -> None:
        """Go by other maps, until other settings come.

        Raises SetupError, and then the old ones stay.
        """
        before = self.parts
        try:
            self._decide_by(replace(before, maps=maps), probed=True)
        except FaithError:
            with suppress(FaithError):
                self._decide_by(before)
            raise

    def _decide_by(self, parts: PolicyInputs, *, probed: bool = False) -> None:
        before, self.parts = self.parts, parts
        if parts == before:
            return
        self.crew.desire(POLICY, cache(parts.dumps), cache(lambda: parts.dumps(before.maps)))
        self.on_policy(parts)
        self._report_absent(before.absent)
        if (parts.maps, parts.own, parts.sources) != (before.maps, before.own, before.sources):
            self.inward.follow(parts.networks, parts.own, probed=probed)

    def _report_absent(self, before: list[str]) -> None:
        """Log the source addresses that this host has not, unless they are those of *before*."""
        absent = self.parts.absent
        if absent and absent != before:
            text = ", ".join(absent)
            log.warning("not used as a source until this host has it: %s", text)
        elif before and not absent:
            log.log(NOTICE, "this host has all addresses of the sources")

    def _desire_settings(self) -> None:
        settings = self._settings
        orders = WorkerSettings(
            settings.relay, settings.recording, settings.local_ports, settings.log
        )
        self.crew.desire(SETTINGS, cache(lambda: carried.dumps(orders)))

    def _listeners(self, number: int) -> tuple[list[_socket.socket], list[_socket.socket]]:
        """Return those of a worker: of the services, and of the mapped networks."""
        return self.steering.listeners[number], self.inward.listeners(number)

    # -- the workers -------------------------------------------------------------------------

    def crews(self) -> Iterable[Crew]:
        """All who may have processes."""
        return self.crew, self._predecessors.crew

    def forsake(self, worker: int | None = None) -> list[_socket.socket]:
        """In another process, let go of everything but a *worker*'s listeners, which it returns."""
        self.crew.forsake()
        self._predecessors.crew.forsake()
        self._data.close()
        self._tables.close_in_child()
        self.conflicts.close_in_child()
        return self.steering.after_fork(worker) + self.inward.close_in_child(worker)

    def _work(self, number: int, channel: ProcessChannel) -> None:
        """Be a worker, in a process of its own."""
        self._places.enter_worker(number)
        self._tables.enter(number)
        self._leave()
        settings = self._settings
        task = Task(
            self.forsake(number),
            self.steering.redirected,
            self.parts,
            settings.user,
            settings.relay,
            settings.local_ports,
            self._places.worker(number),
            Admission(settings.relay.limits, self._tables, number),
            settings.recording,
            self._lent.use,
            self._serves,
        )
        work(task, channel, self._log)

    def _member_gone(self, member: Member) -> None:
        self._places.worker(member.number).lost()
        self._tables.clear(member.number)
        self._workers_changed()
        self._data.forget(member)
        self.census.gone(member)

    def _workers_changed(self) -> None:
        self._shares.share()
        self._places.condition.serving(self.crew.serving, self.crew.restarts)

    def _steering_changed(self) -> None:
        self._places.condition.steered([self.steering.method], len(self.parts.prefixes))

    def _ended(self) -> None:
        if not self._predecessors.crew.pids and not self.crew.pids:
            self.on_end()

    def _predecessors_gone(self) -> None:
        if self._draining:
            self._ended()
        else:
            self._handed_over()

    def _handed_over(self) -> None:
        if self._hands_over:
            self._hands_over = False
            self.on_handed_over(self._predecessors.kept)

    def _let_predecessors_end(self) -> None:
        """If this program fails before they have handed over, their sessions may go on."""
        if self._draining:
            self._predecessors.crew.kill()

    # -- told --------------------------------------------------------------------------------

    def description(self) -> str:
        """Return, for the log, the services, method of steering, prefixes and worker processes."""
        settings = self._settings
        served = f"{settings.name} (port {settings.ports}) by {self.steering.method}"
        return (
            f"{served if settings.services else settings.name},"
            f" prefixes: {_listed(self.parts.prefixes)}, workers:"
            f" {' '.join(map(str, self.crew.pids))}"
        )

    def state(self) -> dict[str, Any]:
        """Return the state from which the next program of this process continues, fit for JSON."""
        return {
            "same": self._same(self._data.state()),
            "steering": self.steering.state(),
            "data": self._data.state(),
            "inward": self.inward.state(),
            "maps": runtime_maps.state(self._settings.maps, self.parts.maps),
            "workers": as_left(self._members()),
        }

    def descriptors(self) -> Iterator[int]:
        """Yield the descriptors in the state."""
        yield from self.steering.descriptors
        yield from self._data.descriptors
        yield from self.inward.descriptors()
        for member in self._members():
            yield member.channel.fileno()

    def _members(self) -> list[Member]:
        return self._predecessors.crew.members + self.crew.members


def _listed(prefixes: Sequence[Prefix]) -> str:
    some = ", ".join(map(str, prefixes[:_LISTED])) or "none"
    more = len(prefixes) - _LISTED
    return f"{some} and {more} more" if more > 0 else some
