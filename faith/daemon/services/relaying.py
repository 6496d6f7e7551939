"""Relaying, from the supervisor's side: what steers connections, and the workers they come to."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from faith.daemon.config import carried
from faith.daemon.config.worker_settings import WorkerSettings
from faith.daemon.host.mapped_networks import MappedNetworks
from faith.daemon.observe.log import NOTICE
from faith.daemon.process.messages import Drain, Serve, Stop
from faith.daemon.process.worker_pool import Crew, PoolEvents
from faith.daemon.services.ftp_data import DataConnections
from faith.daemon.services.listener_shares import ListenerShares
from faith.daemon.services.local_service import LocalService
from faith.daemon.services.session_queries import Census
from faith.daemon.services.worker import POLICY, SETTINGS, Task, work
from faith.daemon.upgrade.draining import DrainingWorkers, as_left
from faith.daemon.upgrade.inherited_state import demand
from faith.errors import SetupError
from faith.kernel import steering
from faith.kernel.steering import change_ports, route
from faith.relay.tcp.admission import Admission, Tables

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.host.socket_activation import PassedSockets
    from faith.daemon.observe.log import Log
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.process.peer import Member
    from faith.daemon.services.interface import Leave, Refuse, Then
    from faith.kernel.steering import Steering
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")


@dataclass(frozen=True)
class RelayingEvents:
    """Callbacks of relaying."""

    handed_over: Callable[[int], object]
    """Called when the workers of the predecessor process have handed over.

    The argument is the number of sessions that stay in these workers to their end; 0 when all
    workers have ended.
    """
    ended: Callable[[], object]
    """Called when the last worker has ended after `Relaying.drain`."""


class Relaying:
    """The workers, also those of the predecessor process, and what leads connections to them.

    Sockets for services that were *passed* are their listeners.  *leave* is called in each worker,
    with what it keeps of the supervisor's; *log_handler* gets its messages.
    """

    steering: Steering
    _policy: PolicyInputs

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        places: MetricAreas,
        passed: PassedSockets,
        lent: AddressLeases,
        leave: Leave,
        log_handler: Log,
        events: RelayingEvents,
    ) -> None:
        self._settings = settings
        self._passed = passed
        self._places = places
        self._lent = lent
        self._leave = leave
        self._log = log_handler
        self._events = events
        self._undo = ExitStack()
        self._data = DataConnections(
            settings.workers, lambda: self._policy.prefixes, lambda: self._policy.networks
        )
        self._undo.callback(self._data.close)
        handlers = {**self._data.handlers, **LocalService(lambda: self._settings).handlers}
        self.census = Census(loop, lambda: self.crew.members)
        self.crew = Crew(
            loop,
            self._work,
            {**handlers, **self.census.handlers},
            events=PoolEvents(
                serving=self._workers_changed,
                late=self._late_changed,
                ended=self._member_gone,
                empty=self._ended,
            ),
        )
        self._shares = ListenerShares(self.crew, settings.workers, self._listeners)
        self.inward = MappedNetworks(settings.via, settings.workers, self._shares.share)
        self._undo.callback(self.inward.close)
        self._predecessors = DrainingWorkers(
            loop,
            handlers,
            PoolEvents(
                ended=lambda old: places.old_worker_gone(old.number),
                empty=self._predecessors_gone,
            ),
            self._handed_over,
        )
        self._undo.callback(self._let_predecessors_end)
        self._tables = Tables(settings.workers)
        self._change_ports: Callable[[], None] = lambda: None
        self._serves = True  # else not before all workers are ready to
        self._prepared: Settings | None = None
        self._draining = False
        self._hands_over = False

    # -- from its start to its end -----------------------------------------------------------

    def set_up(
        self, settings: Settings, policy: PolicyInputs, inherited: Any, *, on_trial: bool
    ) -> None:
        """Steer the connections here, or adopt what the predecessor process left.

        Raises SetupError.
        """
        self._settings = settings
        self._policy = policy
        if not policy.prefixes:
            log.warning("no prefix is reserved yet: set one up with faith -e -p PREFIX")
        if inherited:
            self._adopt(inherited, on_trial=on_trial)
        else:
            self.steering = self._undo.enter_context(self._steer())
        if on_trial:
            return
        if inherited:
            self.steering.set_prefixes(policy.prefixes)
        self._steering_changed()
        self.inward.start()
        self.inward.follow(policy.networks, policy.own)

    def _adopt(self, inherited: Any, *, on_trial: bool) -> None:
        settings = self._settings
        demand(inherited["same"], self._same(inherited["data"]))
        if not on_trial:
            self._predecessors.adopt(inherited["workers"])
        self._serves = False
        self.steering = self._undo.enter_context(steering.adopt(inherited["steering"]))
        self.steering.deal(settings.workers)
        self._change_ports = change_ports(self.steering, settings.ports, settings.local_ports)
        self._data.adopt(inherited["data"])
        self.inward.adopt(inherited["inward"])

    def _steer(self) -> Steering:
        settings = self._settings
        given = self._passed.copies("service")
        own = settings.local_ports
        made = (
            route.given(given)
            if given
            else steering.create(
                settings.via, settings.ports, self._policy.prefixes, settings.workers, own=own
            )
        )
        made.deal(settings.workers)
        return made

    def _same(self, data: dict[str, Any]) -> dict[str, str]:
        """Return the settings that no upgrade can change: inherited sockets depend on them."""
        same = {"way": self._settings.via}
        if data["pairs"]:
            same["workers, when there has been encrypted FTP"] = str(self._settings.workers)
        return same

    def start(self, on_ready: Then) -> None:
        """Start the workers; *on_ready* is called when all of them could serve.

        Raises SetupError, from here or from the loop.
        """

        def ready() -> None:
            self._shares.start()
            on_ready()

        self.crew.desire(POLICY, cache(self._policy.dumps))
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
        """Take no more connections; `RelayingEvents.ended` is called after the last session."""
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

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Have the workers apply *policy*, and steer to them what it says.

        Raises FaithError or OSError when the kernel refuses a part; the rest is applied.
        """
        before, self._policy = self._policy, policy
        self.crew.desire(POLICY, cache(policy.dumps), cache(lambda: policy.dumps(before.maps)))
        # The workers know all of it already when the first connection comes.
        try:
            if policy.prefixes != before.prefixes:
                self.steering.set_prefixes(policy.prefixes)
                self._steering_changed()
                log.log(NOTICE, "prefixes: %s", _listed(policy.prefixes))
        finally:
            if _about_networks(policy) != _about_networks(before):
                self.inward.follow(policy.networks, policy.own)

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Prepare new settings, all of which workers can apply."""
        self._prepared = settings
        on_ready()

    def apply(self) -> None:
        """Have the workers apply the settings that were prepared."""
        if self._prepared:
            self._settings, self._prepared = self._prepared, None
            self._desire_settings()

    def drop(self) -> None:
        """Discard the settings that were prepared."""
        self._prepared = None

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

    def pools(self) -> Iterable[Crew]:
        """Return the pools of workers, of this process and of the predecessor process."""
        return self.crew, self._predecessors.crew

    def only_read(self) -> None:
        """In another process: write no table of clients' sessions but that of this worker."""
        self._tables.enter(None)

    def _work(self, number: int, channel: ProcessChannel) -> None:
        """Be a worker, in a process of its own."""
        self._places.enter_worker(number)
        self._tables.enter(number)
        services, mapped = self._listeners(number)
        listeners = services + mapped
        self._leave([channel, *listeners])
        settings = self._settings
        task = Task(
            listeners,
            self.steering.redirected,
            self._policy,
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

    def _late_changed(self) -> None:
        self._shares.share()

    def _workers_changed(self) -> None:
        self._shares.share()
        self._places.condition.serving(self.crew.serving, self.crew.restarts)

    def _steering_changed(self) -> None:
        self._places.condition.steered([self.steering.method], len(self._policy.prefixes))

    def _ended(self) -> None:
        if not self._predecessors.crew.pids and not self.crew.pids:
            self._events.ended()

    def _predecessors_gone(self) -> None:
        if self._draining:
            self._ended()
        else:
            self._handed_over()

    def _handed_over(self) -> None:
        if self._hands_over:
            self._hands_over = False
            self._events.handed_over(self._predecessors.kept)

    def _let_predecessors_end(self) -> None:
        """If this program fails before they have handed over, their sessions may go on."""
        if self._draining:
            self._predecessors.crew.kill()

    # -- status ------------------------------------------------------------------------------

    def description(self) -> str:
        """Return, for the log, the services, method of steering, prefixes and worker processes."""
        settings = self._settings
        served = f"{settings.name} (port {settings.ports}) by {self.steering.method}"
        return (
            f"{served if settings.services else settings.name},"
            f" prefixes: {_listed(self._policy.prefixes)}, workers:"
            f" {' '.join(map(str, self.crew.pids))}"
        )

    def state(self) -> dict[str, Any]:
        """Return the state from which the next program of this process continues, fit for JSON."""
        return {
            "same": self._same(self._data.state()),
            "steering": self.steering.state(),
            "data": self._data.state(),
            "inward": self.inward.state(),
            "workers": as_left(self._members()),
        }

    def _members(self) -> list[Member]:
        return self._predecessors.crew.members + self.crew.members


def _about_networks(policy: PolicyInputs) -> tuple[object, ...]:
    """Return the inputs on which the mapped networks depend."""
    return policy.maps, policy.own, policy.sources


def _listed(prefixes: Iterable[Prefix]) -> str:
    return ", ".join(map(str, prefixes)) or "none"
