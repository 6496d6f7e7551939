"""Relaying, from the supervisor's side: what steers connections, and the workers they come to."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from faith.daemon.config import carried, proxy_table
from faith.daemon.config.worker_settings import NameSettings, ProxiesSettings, WorkerSettings
from faith.daemon.host.address_conflicts import AddressConflict, AddressConflicts
from faith.daemon.host.mapped_networks import MappedNetworks
from faith.daemon.observe.log import NOTICE
from faith.daemon.observe.own_numbers import own
from faith.daemon.process.messages import Drain, Resume, Serve, Stop
from faith.daemon.process.worker_pool import PoolEvents, WorkerPool
from faith.daemon.services.ftp_data import DataConnections
from faith.daemon.services.listener_shares import ListenerShares, WorkerListeners
from faith.daemon.services.local_service import LocalService
from faith.daemon.services.prefix_steering import PrefixSteering
from faith.daemon.services.worker import POLICY, PROXIES, SETTINGS, Task, work
from faith.daemon.upgrade.draining import DrainingWorkers, as_left
from faith.daemon.upgrade.inherited_state import demand
from faith.dns.endpoint import Endpoint
from faith.errors import FaithError, SetupError
from faith.kernel import steering
from faith.kernel.process import capabilities
from faith.kernel.steering import change_ports, route
from faith.relay.tcp.admission import Admission, Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_conflicts import Question
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.host.proxy_listeners import ProxyListeners
    from faith.daemon.host.socket_activation import PassedSockets
    from faith.daemon.observe.log import Log
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.process.peer import Worker
    from faith.daemon.services.interface import Leave, Refuse, Then
    from faith.daemon.services.session_queries import SessionQueries
    from faith.kernel.steering import Steering
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

_LISTED = 10
"""Prefixes that a line of the log names."""


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

    Sockets for services that were *passed* are their listeners, *proxy_listeners* those of
    proxies.  *leave* is called in each worker, with what it keeps of the supervisor's;
    *log_handler* gets its messages, and *session_queries* asks it about its sessions.
    """

    steering: Steering
    _policy: PolicyInputs

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        proxy_listeners: ProxyListeners,
        metric_areas: MetricAreas,
        passed: PassedSockets,
        leases: AddressLeases,
        leave: Leave,
        log_handler: Log,
        session_queries: SessionQueries,
        events: RelayingEvents,
    ) -> None:
        self._settings = settings
        self._passed = passed
        self._metric_areas = metric_areas
        self._leases = leases
        self._leave = leave
        self._log = log_handler
        self._events = events
        self._undo = ExitStack()
        self._data = DataConnections(
            settings.workers, lambda: self._policy.prefixes, lambda: self._policy.networks
        )
        self._undo.callback(self._data.close)
        self._tables = Tables(settings.workers + 1)
        self.local_service = LocalService(
            settings, Admission(settings.relay.limits, self._tables, settings.workers)
        )
        handlers = {**self._data.handlers, **self.local_service.handlers}
        self._session_queries = session_queries
        self.pool = WorkerPool(
            loop,
            self._work,
            {**handlers, **session_queries.handlers},
            events=PoolEvents(
                serving=self._workers_changed,
                late=self._late_changed,
                ended=self._worker_ended,
                empty=self._ended,
            ),
        )
        session_queries.add(lambda: self.pool.workers)
        self._prefix_steering = PrefixSteering(loop, self.pool, self._steer_to)
        self._proxies = proxy_listeners
        self._undo.callback(self._proxies.close)
        self._shares = ListenerShares(self.pool, settings.workers, self._listeners)
        self.conflicts = AddressConflicts(loop)
        self._undo.callback(self.conflicts.close)
        self.mapped_networks = MappedNetworks(
            settings.via,
            settings.workers,
            self._shares.share,
            [capabilities.user_number(settings.user)],
            self.conflicts,
        )
        self._undo.callback(self.mapped_networks.close)
        self._draining = DrainingWorkers(
            loop,
            handlers,
            PoolEvents(
                ended=lambda old: metric_areas.old_worker_gone(old.number),
                empty=self._drained,
            ),
            self._handed_over,
        )
        self._undo.callback(self._let_predecessors_end)
        self._change_ports: Callable[[], None] = lambda: None
        self._serves = True  # else not before all workers are ready to
        self._prepared: Settings | None = None
        self._drains = False
        self._listeners_are_passed = passed.has("service")
        self._hands_over = False

    # -- from its start to its end -----------------------------------------------------------

    def set_up(
        self, settings: Settings, policy: PolicyInputs, inherited: Any, *, on_trial: bool
    ) -> None:
        """Steer the connections here, or adopt what the predecessor process left.

        Raises SetupError.
        """
        self._settings = settings
        self.local_service.apply(settings)
        own().fills |= {
            "sessions": lambda: (0, self._settings.relay.limits.sessions),
            "local servers": self.local_service.fill,
        }
        self._policy = policy
        self._proxies.set_up(settings.proxies, inherited["proxies"] if inherited else None)
        for warning in proxy_table.warnings(settings.proxies):
            log.warning("%s", warning)
        if not policy.prefixes and not (settings.proxies and not settings.services):
            log.warning("no prefix is reserved yet: set one up with faith -e -p PREFIX")
        if inherited:
            self._adopt(inherited, on_trial=on_trial)
        else:
            self.steering = self._undo.enter_context(self._steer())
        if on_trial:
            self._refuse_conflicts()
            return
        if inherited:
            self.steering.set_prefixes(policy.prefixes)
        self._steering_changed()
        self.mapped_networks.start()
        if not inherited:
            self._refuse_conflicts()
        self.mapped_networks.follow(policy.networks, policy.own)

    def _refuse_conflicts(self) -> None:
        """Raise AddressConflict when another host has an address that is to be claimed.

        Of a pool it may have lent that address: this gateway leads nobody there, and lends it to
        nobody before what others may have been told is over.
        """
        try:
            if question := self._question(self._settings, self._policy):
                self.conflicts.check(question)
        except AddressConflict as conflict:
            self._leases.withhold(conflict.addresses)
            raise

    def _question(self, settings: Settings, policy: PolicyInputs) -> Question | None:
        """Return the question who else has the networks of *policy*; None if it does not matter.

        Of two gateways with VRRP one may still answer for maps that are the other's already.
        """
        if not settings.refuses_conflicts:
            return None
        if settings.vrrp is None:
            return self.mapped_networks.question(policy.networks, policy.own)
        return self.mapped_networks.question(policy.pool, policy.own, policy.pool, settings.vrrp)

    def probe(self, policy: PolicyInputs) -> None:
        """Raise AddressConflict when another host has an address that *policy* adds."""
        if self._settings.refuses_conflicts:
            self.conflicts.check(self.mapped_networks.question(policy.networks, policy.own))

    def _adopt(self, inherited: Any, *, on_trial: bool) -> None:
        settings = self._settings
        demand(inherited["same"], self._same(inherited["data"]))
        if not on_trial:
            self._draining.adopt(inherited["workers"])
            self.local_service.adopt(inherited.get("local_servers", []))
        self._serves = False
        self.steering = self._undo.enter_context(steering.adopt(inherited["steering"]))
        self.steering.deal(settings.workers)
        self._change_ports = change_ports(self.steering, settings.ports, settings.local_ports)
        self._data.adopt(inherited["data"])
        self.mapped_networks.adopt(inherited["inward"])

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

        if self._settings.proxies:
            from faith.daemon.services import proxy_names  # noqa: F401, for the workers
        self.pool.desire(POLICY, cache(self._policy.dumps))
        self._desire_settings()
        self.pool.start(self._settings.workers, ready)

    def serve(self) -> None:
        """Have the workers serve in place of the predecessor process, whose workers hand over."""
        if self._serves:
            return
        self._serves = True
        self.pool.tell(Serve())
        try:
            self._change_ports()
        except SetupError as error:
            log.error("the ports stay what they were: %s", error)
        self._proxies.close_others()
        self._hands_over = True
        workers = self._settings.workers
        self._draining.hand_over(lambda number: self.pool.able_in(number % workers))
        if not self._draining.pool.pids:  # they have died meanwhile
            self._handed_over()

    @property
    def handing_over(self) -> bool:
        """Return whether workers of the predecessor process are still to hand over."""
        return self._draining.hand_over_is_under_way

    def drain(self) -> None:
        """Take no more connections; `RelayingEvents.ended` is called after the last session."""
        self._drains = True
        self._shares.stop()
        self._draining.pool.tell(Drain())
        self.pool.tell(Drain())
        self._pause()
        self.pool.retire()

    def _pause(self) -> None:
        """Have the kernel refuse connections, which it would queue although nobody accepts them.

        Sockets of systemd are its own: what comes there waits for the next program.
        """
        if not self._listeners_are_passed:
            self.steering.pause()
        self.mapped_networks.pause()
        self._proxies.pause()

    def resume(self) -> None:
        """Take connections again, after `drain`; workers that have ended are started anew.

        Raises SetupError when another program has taken a port meanwhile; it drains on then.
        """
        try:
            self.steering.resume(self._settings.ports)
            self.mapped_networks.resume()
            self._proxies.resume()
        except SetupError:
            self._pause()
            raise
        self._drains = False
        self.pool.tell(Resume())
        self.pool.resume()
        self._shares.start()

    def stop(self) -> None:
        """End what sessions there are."""
        self._draining.pool.tell(Stop())
        self.pool.tell(Stop())

    def close(self) -> None:
        """End the workers at once, and take everything back."""
        self.pool.kill()
        self._undo.close()

    # -- changes -----------------------------------------------------------------------------

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Have the workers apply *policy*, and steer to them what it says.

        New prefixes are steered as soon as the workers know them.  Raises FaithError or OSError
        when the kernel refuses other networks; the rest is applied.
        """
        before, self._policy = self._policy, policy
        self.pool.desire(POLICY, cache(policy.dumps), cache(lambda: policy.dumps(before.maps)))
        if policy.prefixes != before.prefixes:
            self._prefix_steering.follow(policy.prefixes)
        if _about_networks(policy) != _about_networks(before):
            self.mapped_networks.follow(policy.networks, policy.own)

    def _steer_to(self, prefixes: tuple[Prefix, ...]) -> None:
        try:
            self.steering.set_prefixes(prefixes)
        except (FaithError, OSError) as error:
            log.error("a change of the prefixes is not followed: %s", error)
            return
        self._steering_changed()
        log.log(NOTICE, "prefixes: %s", _listed(prefixes))

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Prepare new settings, all of which workers can apply.

        No other host may have an address that is mapped by them alone.  Raises SetupError when a
        proxy cannot listen.
        """
        self._proxies.prepare(settings.proxies)
        self._prepared = settings
        policy = replace(self._policy, maps=settings.maps, sources=settings.sources)
        if question := self._question(settings, policy):
            self.conflicts.ask(question, on_ready, on_failure)
        else:
            on_ready()

    def apply(self) -> None:
        """Have the workers apply the settings that were prepared."""
        if self._prepared:
            before = set(proxy_table.warnings(self._settings.proxies))
            self._settings, self._prepared = self._prepared, None
            for warning in proxy_table.warnings(self._settings.proxies):
                if warning not in before:
                    log.warning("%s", warning)
            self.local_service.apply(self._settings)
            self._proxies.apply()
            self._metric_areas.condition.proxies(len(self._settings.proxies))
            self._desire_settings()
            self._shares.share()

    def drop(self) -> None:
        """Discard the settings that were prepared."""
        self._prepared = None
        self._proxies.drop()

    def _desire_settings(self) -> None:
        settings = self._settings
        orders = WorkerSettings(
            settings.relay, settings.recording, settings.local_ports, settings.log
        )
        self.pool.desire(SETTINGS, cache(lambda: carried.dumps(orders)))
        proxies = _proxies(settings)
        self.pool.desire(PROXIES, cache(lambda: carried.dumps(proxies)))

    def _listeners(self, number: int) -> WorkerListeners:
        return WorkerListeners(
            self.steering.listeners[number],
            self.mapped_networks.listeners(number),
            self._proxies.of_worker(number),
        )

    # -- the workers -------------------------------------------------------------------------

    def pools(self) -> Iterable[WorkerPool]:
        """Return the pools of workers, of this process and of the predecessor process."""
        return self.pool, self._draining.pool

    def only_read(self) -> None:
        """In another process: write no table of clients' sessions but that of this worker."""
        self._tables.enter(None)

    def _work(self, number: int, channel: ProcessChannel) -> None:
        """Be a worker, in a process of its own."""
        self._metric_areas.enter_worker(number)
        self._tables.enter(number)
        services, mapped, proxies = self._listeners(number)
        listeners = services + mapped
        self._leave([channel, *listeners, *proxies])
        settings = self._settings
        task = Task(
            listeners,
            self.steering.redirected,
            self._policy,
            settings.user,
            settings.relay,
            settings.local_ports,
            self._metric_areas.worker(number),
            Admission(settings.relay.limits, self._tables, number),
            settings.recording,
            self._leases.use,
            self._serves,
            settings.workers,
            _proxies(settings),
            proxies,
        )
        work(task, channel, self._log)

    def _worker_ended(self, worker: Worker) -> None:
        self._metric_areas.worker_gone(worker.number)
        self._tables.clear(worker.number)
        self._workers_changed()
        self._data.forget(worker)
        self._session_queries.gone(worker)

    def _late_changed(self) -> None:
        self._shares.share()
        self._metric_areas.condition.able(len(self.pool.able))

    def _workers_changed(self) -> None:
        self._shares.share()
        self._metric_areas.condition.serving(self.pool.serving, self.pool.restarts)
        self._metric_areas.condition.able(len(self.pool.able))

    def _steering_changed(self) -> None:
        self._metric_areas.condition.proxies(len(self._settings.proxies))
        self._metric_areas.condition.steered([self.steering.method], len(self._policy.prefixes))

    def _ended(self) -> None:
        if not self._draining.pool.pids and not self.pool.pids:
            self._events.ended()

    def _drained(self) -> None:
        if self._drains:
            self._ended()
        else:
            self._handed_over()

    def _handed_over(self) -> None:
        if self._hands_over:
            self._hands_over = False
            self._events.handed_over(self._draining.kept)

    def _let_predecessors_end(self) -> None:
        """If this program fails before they have handed over, their sessions may go on."""
        if self._drains:
            self._draining.pool.kill()

    # -- status ------------------------------------------------------------------------------

    def description(self) -> str:
        """Return, for the log, the services, method of steering, prefixes and worker processes."""
        settings = self._settings
        served = f"{settings.name} (port {settings.ports}) by {self.steering.method}"
        places = [str(Endpoint(proxy.host, proxy.port)) for proxy in settings.proxies]
        proxies = f" proxies: {' '.join(places)}," if places else ""
        return (
            f"{served if settings.services else settings.name},{proxies}"
            f" prefixes: {_listed(self._policy.prefixes)}, workers:"
            f" {' '.join(map(str, self.pool.pids))}"
        )

    def state(self) -> dict[str, Any]:
        """Return the state from which the next program of this process continues, fit for JSON."""
        return {
            "same": self._same(self._data.state()),
            "steering": self.steering.state(),
            "data": self._data.state(),
            "inward": self.mapped_networks.state(),
            "proxies": self._proxies.state(),
            "local_servers": self.local_service.state(),
            "workers": as_left(self._workers()),
        }

    def _workers(self) -> list[Worker]:
        return self._draining.pool.workers + self.pool.workers


def _proxies(settings: Settings) -> ProxiesSettings:
    return ProxiesSettings(settings.proxies, NameSettings.of(settings))


def _about_networks(policy: PolicyInputs) -> tuple[object, ...]:
    """Return the inputs on which the mapped networks depend."""
    return policy.maps, policy.own, policy.sources


def _listed(prefixes: Sequence[Prefix]) -> str:
    some = ", ".join(map(str, prefixes[:_LISTED])) or "none"
    more = len(prefixes) - _LISTED
    return f"{some} and {more} more" if more > 0 else some
