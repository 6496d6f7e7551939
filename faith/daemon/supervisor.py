"""The supervisor: the privileged parent, which owns what the kernel has of us and serves nothing.

It reads the rules, sets up the kernel, forks the workers and their companions, and then waits for
signals, for changes of the kernel's tables, for processes that die and for what workers ask.  It
must be able to fork at any moment: no thread, no asyncio.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec import to_builtins

from faith.daemon.config import tried_files
from faith.daemon.config.policy import Rules
from faith.daemon.host import discovery
from faith.daemon.host.address_leases import AddressLeases
from faith.daemon.host.held_prefixes import HeldPrefixes
from faith.daemon.host.port_conflicts import refuse_taken_ports
from faith.daemon.host.proxy_listeners import ProxyListeners
from faith.daemon.host.readiness_probes import ReadinessProbes
from faith.daemon.host.repair import Repair
from faith.daemon.host.runtime_files import RuntimeFiles
from faith.daemon.host.socket_activation import PassedSockets
from faith.daemon.observe.log import NOTICE
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.process import control_socket, systemd
from faith.daemon.process.daemonize import pid_file
from faith.daemon.process.loop import Loop
from faith.daemon.reload import Reload, Reloads
from faith.daemon.self_report import SelfReport
from faith.daemon.services.explain_query import ExplainQuery
from faith.daemon.services.interface import countdown
from faith.daemon.services.kernel_path import KernelPath
from faith.daemon.services.liveness import Liveness
from faith.daemon.services.map_commands import MapCommands
from faith.daemon.services.proxy_tls import TlsTerminators
from faith.daemon.services.relaying import Relaying, RelayingEvents
from faith.daemon.services.running_policy import RunningPolicy
from faith.daemon.services.service_list import other_services, proxy_tls
from faith.daemon.services.session_queries import SessionQueries
from faith.daemon.shutdown import Shutdown
from faith.daemon.upgrade.upgrades import Upgrades
from faith.errors import FaithError
from faith.kernel.descriptor import close_others
from faith.kernel.netlink import routes
from faith.kernel.process import capabilities, oom_score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.observe.log import Log
    from faith.daemon.process.control_socket import Control, Request
    from faith.daemon.process.daemonize import Background
    from faith.daemon.services.interface import Service
    from faith.daemon.upgrade.inherited_state import InheritedState
    from faith.daemon.upgrade.upgrades import Failed, Heritable
    from faith.kernel.descriptor import Source

log = logging.getLogger("faith.supervisor")

KEPT = (
    *("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"),
    *("CAP_BPF", "CAP_PERFMON"),
    *("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"),  # for its processes
    *("CAP_DAC_OVERRIDE", "CAP_CHOWN"),  # files of other users, which root names
)
"""The capabilities that a supervisor keeps once it serves, of those it has."""


class Supervisor:
    """One faithd, from its start to its end."""

    _announcement: discovery.Announcement
    _watch: routes.Watch

    def __init__(
        self,
        settings: Settings,
        log_handler: Log,
        background: Background,
        reread: Callable[[], Settings],
        inherited: InheritedState | None = None,
        passed: PassedSockets | None = None,
    ) -> None:
        self._passed = (
            PassedSockets.adopt(inherited["passed"]) if inherited else passed or PassedSockets()
        )
        settings = self._passed.fit(settings)
        self._settings = settings
        self._reread = reread
        self._inherited = inherited
        self._log = log_handler
        self._background = background
        self._loop = Loop()
        log_handler.retry_by(self._loop.later)
        self._metric_areas = MetricAreas(
            settings.workers, inherited["numbers"] if inherited else ()
        )
        self._leases = AddressLeases()
        self._session_queries = SessionQueries(self._loop)
        known = self._metric_areas, self._passed, self._leases
        condition = self._metric_areas.condition
        self._upgrades = Upgrades(self._loop, inherited, self._left, condition)
        given = self._passed.copies("proxy")
        listeners = ProxyListeners(settings.workers, self._share_secured, given)
        self._secured = proxy_tls(self._loop, self._metric_areas, self._keep_only, listeners)
        self._relaying = Relaying(
            self._loop,
            settings,
            listeners,
            *known,
            self._keep_only,
            log_handler,
            self._session_queries,
            RelayingEvents(
                handed_over=self._upgrades.handed_over,
                ended=self._end,
            ),
        )
        # Relaying is the last: it accepts as soon as it has started, and may refuse a policy.
        calls = self._keep_only, self._report_text
        others = other_services(self._loop, *known, *calls, self._secured)
        self._kernel_path = KernelPath(
            self._loop, self._metric_areas, self._leases, self._keep_only, self._session_queries
        )
        self._services: dict[str, Service] = {
            **others,
            "flows": self._kernel_path,
            "relaying": self._relaying,
        }
        self._policy = RunningPolicy(self._apply_policy, self._relaying.probe)
        self._reservations = HeldPrefixes([capabilities.user_number(settings.user)])
        self._liveness = Liveness(self._loop, self._services.values(), self._metric_areas)
        self._repair = Repair(
            self._loop,
            self._reservations,
            self._metric_areas.condition,
            (self._relaying.mapped_networks.look, self._kernel_path.look),
        )
        self._reloads = Reloads(self._reload, self._metric_areas.condition, self._tell_systemd)
        self._control: Control | None = None
        condition = self._metric_areas.condition
        self._probes = ReadinessProbes(self._loop, condition)
        self._no_control: list[str] = []  # why, as warnings
        condition.started(self._upgrades.started)
        services = self._services.values()
        self._shutdown = Shutdown(
            self._loop,
            self._relaying,
            self._kernel_path,
            services,
            self._upgrades,
            self._metric_areas,
        )
        self._report = SelfReport(
            lambda: self._settings,
            self._relaying,
            self._kernel_path,
            self._policy,
            self._reservations,
            self._metric_areas,
            self._liveness,
            self._upgrades,
            self._reloads,
            self._shutdown,
            lambda: self._no_control,
            self._probes,
        )

    def run(self) -> None:
        """Serve until a signal ends it, and undo everything.

        Raises FaithError when it cannot start; nothing stays behind then either.
        """
        handlers = {
            signal.SIGTERM: self._handle_sigterm,
            signal.SIGINT: self._handle_sigterm,
            signal.SIGHUP: self._handle_sighup,
            signal.SIGUSR1: self._handle_sigusr1,
            signal.SIGUSR2: self._handle_sigusr2,
            signal.SIGCHLD: self._handle_sigchld,
        }
        oom_score.lower_own()
        with ExitStack() as undo:
            undo.callback(self._loop.close)
            undo.enter_context(self._loop.signals(handlers))
            undo.callback(self._upgrades.close)
            self._set_up(undo)
            if self._on_trial:
                self._start(self._loop.stop)
                self._loop.run()
                return
            self._start(self._serve)
            self._handle_sigchld()  # for children that the predecessor process could no longer reap
            self._loop.run()
        log.log(NOTICE, "stopped")

    @property
    def _on_trial(self) -> bool:
        return self._inherited is not None and self._inherited.on_trial

    # -- start -------------------------------------------------------------------------------

    def _set_up(self, undo: ExitStack) -> None:
        """Do every step that can fail, each with its inverse.

        State that the predecessor process left is adopted instead.
        """
        settings, inherited, on_trial = self._settings, self._inherited, self._on_trial
        rules = Rules.of(settings)
        if not inherited or on_trial:  # else that was tried, and it is too late to refuse
            settings.check_local_servers()
            if capabilities.lacks_kill(settings.user):
                log.warning("CAP_KILL is missing: processes of %s cannot be ended", settings.user)
            refuse_taken_ports(settings, but_of={os.getppid()} if on_trial else set())
        undo.callback(self._leases.close)
        self._leases.set_up(settings.dns, inherited["lent"] if inherited else None)
        undo.callback(self._reservations.close)
        ours = inherited.prefixes("reservations") if inherited else ()
        if on_trial:  # the old program has what is ours
            self._reservations.change(one for one in settings.prefixes if one not in set(ours))
        else:
            self._reservations.start(settings.prefixes, ours)
        # Watched before they are read, so that no change falls in between.
        self._watch = undo.enter_context(routes.watch())
        policy = self._policy.gather(
            settings, rules, self._leases.networks, inherited["policy"] if inherited else None
        )
        for name, service in self._services.items():
            undo.callback(service.close)
            left = inherited.of_service(name) if inherited else None
            service.set_up(settings, policy, left, on_trial=on_trial)
        self._announcement = (
            discovery.Announcement.adopt(inherited["presence"], self._report.daemon)
            if inherited
            else discovery.Announcement.create(self._report.daemon)
        )
        undo.callback(self._announcement.close)
        if not on_trial:
            self._be_found(undo)

    def _start(self, on_ready: Callable[[], None]) -> None:
        """Start the processes of all services; *on_ready* is called when all serve."""
        *others, relaying = self._services.values()
        last = countdown(len(others), partial(relaying.start, on_ready))
        for service in others:
            service.start(last)

    def _be_found(self, undo: ExitStack) -> None:
        undo.enter_context(pid_file(self._settings.pid_file))
        if self._settings.control:
            given = self._passed.copies("control")
            asked = self._settings.control, self._commands(), given
            self._control, self._no_control = control_socket.opened(self._loop, *asked)
        if self._control:
            undo.callback(self._control.close)
        undo.callback(self._repair.close)
        undo.callback(self._probes.close)
        self._policy.report_absent()
        self._repair.start()
        self._loop.watch(self._watch, self._tables_changed)
        self._announcement.serve(self._loop)

    def _serve(self) -> None:
        """Every process is ready."""
        tried_files.forget()
        self._background.served()
        self._upgrades.serve()
        if self._inherited:
            RuntimeFiles(self._settings).remove_others(self._inherited["files"])
            self._reservations.release_others(self._inherited.prefixes("reservations"))
            self._reloads.adopt(self._inherited["reloads"])
        for service in self._services.values():
            service.serve()
        self._tell_systemd()
        self._liveness.start()
        self._probes.apply(self._settings.probes)
        capabilities.reduce(KEPT)
        log.log(NOTICE, "serving %s", self._relaying.description())

    def _tell_systemd(self) -> None:
        begun = self._shutdown.has_begun
        status = self._shutdown.status() if begun else f"serving {self._relaying.description()}"
        systemd.notify("READY=1", f"STATUS={status}")

    # -- other processes ---------------------------------------------------------------------

    def _share_secured(self) -> None:
        """Have those that terminate TLS serve the listeners of proxies that there are now."""
        if isinstance(group := self._secured.group, TlsTerminators):
            group.share()

    def _keep_only(self, kept: Iterable[Source]) -> None:
        """In another process: keep *kept* and the log, and write to no memory but its own."""
        self._background.detach()
        self._metric_areas.only_read()
        self._relaying.only_read()
        self._kernel_path.unmap()
        close_others([self._log, *kept])

    def _handle_sigchld(self) -> None:
        self._liveness.reap(self._upgrades.reaped, self._relaying.local_service.reaped)

    # -- changes -----------------------------------------------------------------------------

    def _tables_changed(self) -> None:
        """Follow prefixes that come and go, and the gateway's own addresses."""
        mapped_networks = self._relaying.mapped_networks
        if self._watch.drain(mapped_networks.knows):
            self._repair.look()
            try:
                mapped_networks.look_at_routes()
                self._policy.follow_kernel()
            except (FaithError, OSError) as error:
                log.error("a change of the prefixes is not followed: %s", error)

    def _apply_policy(self, policy: PolicyInputs) -> None:
        """Have all services apply *policy*.  Raises FaithError."""
        for service in self._services.values():
            service.apply_policy(policy)

    def _handle_sighup(self) -> None:
        """Read the configuration again; an error leaves everything as it was."""
        if not self._shutdown.has_begun:
            self._reloads.start(lambda error: None)

    def _answer_reload(self, request: Request) -> None:
        if self._shutdown.has_begun:
            request.fail("it is being stopped")
        else:
            self._reloads.start(
                lambda error: request.fail(error) if error else self._answer_applied(request),
                request,
            )

    def _answer_applied(self, request: Request) -> None:
        """Answer *request* when every process has applied what is new, or say which have not."""
        self._liveness.when_applied(lambda behind: request.answer(behind=behind))

    def _reload(self, request: Request | None) -> Reload:
        return Reload(
            self._settings,
            lambda: self._passed.fit(self._reread()),
            self._services.values(),
            self._reservations,
            self._apply,
            partial(self._upgrade, request),
        )

    def _apply(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._log.form = settings.log
        self._probes.apply(settings.probes)
        try:
            self._policy.apply_settings(settings, rules)
        except (FaithError, OSError) as error:
            log.error("mapped networks are not those of the maps: %s", error)

        def say(behind: list[str]) -> None:
            lag = f"; not applied yet by {', '.join(behind)}" if behind else ""
            count = len(rules.access().rules)
            log.log(NOTICE, "read again; %s: %d rules%s", rules.file, count, lag)

        self._liveness.when_applied(say)

    def _handle_sigusr2(self) -> None:
        """Have the program that is on disk now take over."""
        try:
            self._upgrade()
        except FaithError as error:
            log.warning("not upgraded: %s", error)

    def _answer_upgrade(self, request: Request) -> None:
        try:
            self._upgrade(request)
        except FaithError as error:
            request.fail(error)

    def _upgrade(self, request: Request | None = None, failed: Failed | None = None) -> None:
        if self._shutdown.has_begun or not self._relaying.pool.serving:
            raise FaithError("nobody serves, or not for long")
        self._upgrades.begin(request, failed, later=self._relaying.handing_over)

    def _left(self) -> Mapping[str, Heritable]:
        return {
            "numbers": self._metric_areas,
            "lent": self._leases,
            "policy": self._policy,
            **self._services,
            "passed": self._passed,
            "presence": self._announcement,
            "reservations": self._reservations,
            "files": RuntimeFiles(self._settings),
            "reloads": self._reloads,
        }

    # -- asked and told ----------------------------------------------------------------------

    def _commands(self) -> dict[str, Callable[[Request], None]]:
        explain = ExplainQuery(
            lambda: self._settings, self._policy, self._relaying, self._kernel_path, self._leases
        )
        return {
            "explain": explain.answer,
            "explain-proxy": explain.answer_proxied,
            "status": lambda request: request.answer(**to_builtins(self._report.daemon())),
            "sessions": self._session_queries.tell,
            "kill": self._session_queries.kill,
            "reload": self._answer_reload,
            "drain": lambda request: self._shutdown.answer_drain(request, self._settings),
            "undrain": self._answer_undrain,
            "upgrade": self._answer_upgrade,
            **MapCommands(
                lambda: self._settings, self._policy, lambda: self._reloads.under_way
            ).commands,
        }

    def _report_text(self) -> str:
        return self._report.text()

    def _handle_sigusr1(self) -> None:
        sessions, description = self._metric_areas.open_sessions(), self._relaying.description()
        log.log(NOTICE, "sessions: %d, %s", sessions, description)

    # -- end ---------------------------------------------------------------------------------

    def _handle_sigterm(self) -> None:
        """Let the sessions end; asked again, end them."""
        self._shutdown.stop(self._settings.drain_timeout, self._settings.lame_duck)

    def _end(self) -> None:
        """The last relayed session has ended."""
        self._shutdown.relaying_has_ended()

    def _answer_undrain(self, request: Request) -> None:
        """Serve again."""
        try:
            self._shutdown.take_back()
        except FaithError as error:
            request.fail(error)
            return
        self._tell_systemd()
        request.answer()
