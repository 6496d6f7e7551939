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
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.config import tried_files
from faith.daemon.config.policy import Rules
from faith.daemon.host import discovery
from faith.daemon.host.address_leases import AddressLeases
from faith.daemon.host.held_prefixes import HeldPrefixes
from faith.daemon.host.port_conflicts import refuse_taken_ports
from faith.daemon.host.repair import Repair
from faith.daemon.host.runtime_files import RuntimeFiles
from faith.daemon.host.socket_activation import PassedSockets
from faith.daemon.observe.log import NOTICE
from faith.daemon.observe.metric_areas import MetricAreas
from faith.daemon.process import systemd
from faith.daemon.process.control_socket import Control
from faith.daemon.process.daemonize import pid_file
from faith.daemon.process.heartbeat import BEAT
from faith.daemon.process.loop import Loop
from faith.daemon.process.reaping import reap
from faith.daemon.reload import Reload, Reloads
from faith.daemon.services.map_commands import MapCommands
from faith.daemon.services.relaying import Relaying
from faith.daemon.services.service_list import companions
from faith.daemon.shutdown import Ending
from faith.daemon.upgrade.upgrades import Upgrades
from faith.errors import FaithError
from faith.kernel.netlink import routes
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faith.daemon.config.settings import Settings
    from faith.daemon.observe.log import Log
    from faith.daemon.process.control_socket import Request
    from faith.daemon.process.daemonize import Background
    from faith.daemon.process.worker_pool import Crew
    from faith.daemon.upgrade.inherited_state import InheritedState
    from faith.daemon.upgrade.upgrades import Failed, Heritable

log = logging.getLogger("faith.supervisor")

APPLIED = 8.0
"""Seconds to wait for processes to apply what is new: less than its patience."""
_LOOK = 0.02


class Supervisor:
    """One faithd, from its start to its end."""

    _presence: discovery.Announcement
    _watch: routes.Watch

    def __init__(
        self,
        settings: Settings,
        told: Log,
        background: Background,
        reread: Callable[[], Settings],
        legacy: InheritedState | None = None,
        passed: PassedSockets | None = None,
    ) -> None:
        self._passed = PassedSockets.left(legacy["passed"]) if legacy else passed or PassedSockets()
        settings = self._passed.fit(settings)
        self._settings = settings
        self._reread = reread
        self._legacy = legacy
        self._log = told
        self._background = background
        self._loop = Loop()
        self._places = MetricAreas(settings.workers, legacy["numbers"] if legacy else ())
        self._lent = AddressLeases()
        known = self._places, self._passed, self._lent
        self._relaying = Relaying(self._loop, settings, *known, self._forsake, told)
        self._companions = companions(self._loop, *known, self._forsake_all)
        self._reservations = HeldPrefixes([capabilities.user_number(settings.user)])
        others = (self._relaying.inward.look,)
        self._upkeep = Repair(self._loop, self._reservations, self._places.condition, others)
        self._reloads = Reloads(self._reload, self._places.condition, self._tell_systemd)
        self._succession = Upgrades(self._loop, legacy, self._left)
        self._control: Control | None = None
        condition = self._places.condition
        condition.started(self._succession.started)
        self._ending = Ending(
            self._loop, self._relaying, self._companions, self._succession, condition
        )
        self._relaying.on_handed_over = self._succession.handed_over
        self._relaying.on_policy = self._companions.decide_by

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
        with ExitStack() as undo:
            undo.callback(self._loop.close)
            undo.enter_context(self._loop.signals(handlers))
            undo.callback(self._succession.close)
            self._set_up(undo)
            if self._on_trial:
                self._companions.start(partial(self._relaying.start, self._loop.stop))
                self._loop.run()
                return
            self._companions.start(partial(self._relaying.start, self._serve))
            self._handle_sigchld()  # for children that the predecessor process could no longer reap
            self._loop.run()
        log.log(NOTICE, "stopped")

    @property
    def _on_trial(self) -> bool:
        return self._legacy is not None and self._legacy.on_trial

    # -- start -------------------------------------------------------------------------------

    def _set_up(self, undo: ExitStack) -> None:
        """Do every step that can fail, each with its inverse.

        State that the predecessor process left is adopted instead.
        """
        settings, legacy, on_trial = self._settings, self._legacy, self._on_trial
        rules = Rules.of(settings)
        if not legacy or on_trial:  # else that was tried, and it is too late to refuse
            settings.check_local_servers()
            refuse_taken_ports(settings, but_of={os.getppid()} if on_trial else set())
        undo.callback(self._lent.close)
        self._lent.set_up(settings.dns, legacy["lent"] if legacy else None)
        undo.callback(self._companions.close)
        self._companions.set_up(settings, legacy["companions"] if legacy else {}, on_trial=on_trial)
        undo.callback(self._reservations.close)
        ours = legacy.prefixes("reservations") if legacy else ()
        if on_trial:  # the old program has what is ours
            self._reservations.change(one for one in settings.prefixes if one not in set(ours))
        else:
            self._reservations.start(settings.prefixes, ours)
        # Watched before they are read, so that no change falls in between.
        self._watch = undo.enter_context(routes.watch())
        undo.callback(self._relaying.close)
        self._relaying.set_up(rules, legacy["relaying"] if legacy else None, on_trial=on_trial)
        self._companions.decide_by(self._relaying.parts)
        self._presence = discovery.announce(self._state, legacy["presence"] if legacy else None)
        undo.callback(self._presence.close)
        if not on_trial:
            self._be_found(undo)

    def _be_found(self, undo: ExitStack) -> None:
        undo.enter_context(pid_file(self._settings.pid_file))
        if self._settings.control:
            given = self._passed.copies("control")
            self._control = Control(self._loop, self._settings.control, self._commands(), given)
            undo.callback(self._control.close)
        undo.callback(self._upkeep.close_in_child)
        self._upkeep.start()
        self._loop.watch(self._watch, self._tables_changed)
        self._loop.watch(self._presence, self._presence.answer)

    def _serve(self) -> None:
        """Every process is ready."""
        tried_files.forget()
        self._background.served()
        self._succession.serve()
        if self._legacy:
            RuntimeFiles(self._settings).remove_others(self._legacy["files"])
            self._reservations.release_others(self._legacy.prefixes("reservations"))
            self._reloads.resume(self._legacy["reloads"])
        self._companions.serve()
        self._relaying.serve()
        self._tell_systemd()
        self._keep_watchdog(systemd.watchdog_interval())
        self._look_after()
        log.log(NOTICE, "serving %s", self._relaying.description())

    def _tell_systemd(self) -> None:
        systemd.notify("READY=1", f"STATUS=serving {self._relaying.description()}")

    def _keep_watchdog(self, interval: float) -> None:
        """Feed systemd's watchdog, unless a process is late."""
        if interval:
            late = self._late()
            if not late:
                systemd.notify("WATCHDOG=1")
            self._loop.later(BEAT if late else interval, partial(self._keep_watchdog, interval))

    def _look_after(self) -> None:
        """Have the health say how many processes are late."""
        self._places.condition.late(len(self._late()))
        self._loop.later(BEAT, self._look_after)

    def _late(self) -> list[str]:
        return [member.name for crew in self._crews() for member in crew.late]

    def _crews(self) -> tuple[Crew, ...]:
        return (*self._relaying.crews(), *self._companions.crews())

    # -- other processes ---------------------------------------------------------------------

    def _forsake(self) -> None:
        """In a worker, let go of what is the supervisor's or its companions'."""
        self._background.detach()
        self._places.close_in_child()
        self._passed.close_in_child()
        self._companions.forsake()
        if self._control:
            self._control.forsake()
        self._succession.close_in_child()
        self._lent.close()
        self._presence.close()
        self._watch.close()
        self._upkeep.close_in_child()
        self._loop.close()

    def _forsake_all(self) -> None:
        """In a companion, let go of everything."""
        self._forsake()
        self._relaying.forsake()

    def _handle_sigchld(self) -> None:
        reap((self._succession.reaped, *(crew.reaped for crew in self._crews())))

    # -- changes -----------------------------------------------------------------------------

    def _tables_changed(self) -> None:
        """Follow prefixes that come and go, and the gateway's own addresses."""
        if self._watch.drain():
            self._upkeep.look()
            self._relaying.follow()

    def _handle_sighup(self) -> None:
        """Read the configuration again; an error leaves everything as it was."""
        if not self._ending.has_begun:
            self._reloads.start(lambda error: None)

    def _answer_reload(self, request: Request) -> None:
        if self._ending.has_begun:
            request.fail("it is being stopped")
        else:
            self._reloads.start(
                lambda error: request.fail(error) if error else self._answer_applied(request),
                request,
            )

    def _answer_applied(self, request: Request) -> None:
        """Answer *request* when every process has applied what is new, or say which have not."""
        self._when_applied(lambda behind: request.answer(behind=behind))

    def _when_applied(self, then: Callable[[list[str]], None], patience: float = APPLIED) -> None:
        """Call *then* when every process has applied what is new, or with those that have not."""
        behind = [member.name for crew in self._crews() for member in crew.behind]
        if not behind or patience <= 0:
            then(behind)
        else:
            self._loop.later(_LOOK, partial(self._when_applied, then, patience - _LOOK))

    def _reload(self, request: Request | None) -> Reload:
        return Reload(
            self._settings,
            lambda: self._passed.fit(self._reread()),
            self._companions,
            self._reservations,
            self._take,
            partial(self._upgrade, request),
        )

    def _take(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._log.form = settings.log
        self._relaying.take(settings, rules)

        def say(behind: list[str]) -> None:
            lag = f"; not applied yet by {', '.join(behind)}" if behind else ""
            count = len(rules.access().rules)
            log.log(NOTICE, "read again; %s: %d rules%s", rules.file, count, lag)

        self._when_applied(say)

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
        if self._ending.has_begun or not self._relaying.crew.serving:
            raise FaithError("nobody serves, or not for long")
        self._succession.begin(request, failed, later=self._relaying.handing_over)

    def _left(self) -> Mapping[str, Heritable]:
        return {
            "numbers": self._places,
            "lent": self._lent,
            "companions": self._companions,
            "relaying": self._relaying,
            "passed": self._passed,
            "presence": self._presence,
            "reservations": self._reservations,
            "files": RuntimeFiles(self._settings),
            "reloads": self._reloads,
        }

    # -- asked and told ----------------------------------------------------------------------

    def _commands(self) -> dict[str, Callable[[Request], None]]:
        return {
            "status": lambda request: request.answer(**asdict(self._state())),
            "sessions": self._relaying.census.tell,
            "kill": self._relaying.census.kill,
            "reload": self._answer_reload,
            "drain": self._answer_drain,
            "upgrade": self._answer_upgrade,
            **MapCommands(
                lambda: self._settings, self._relaying, lambda: self._reloads.under_way
            ).commands,
        }

    def _state(self) -> discovery.Running:
        return discovery.Running(
            pid=os.getpid(),
            service=self._settings.name,
            ports=str(self._settings.ports),
            via=self._relaying.steering.method,
            workers=len(self._relaying.crew.pids),
            started=self._succession.started,
            prefixes=[str(prefix) for prefix in self._relaying.parts.prefixes],
            sets_up=[str(prefix) for prefix in self._reservations.set_up],
            sessions=self._places.open_sessions(),
            draining=self._ending.has_begun,
            control=str(self._settings.control) if self._control else None,
            programs=self._succession.programs,
            failed=self._succession.failures,
            late=self._late(),
            warnings=self._places.warnings() + self._relaying.conflicts.warnings(),
            absent=self._relaying.parts.absent,
        )

    def _handle_sigusr1(self) -> None:
        sessions, description = self._places.open_sessions(), self._relaying.description()
        log.log(NOTICE, "sessions: %d, %s", sessions, description)

    # -- end ---------------------------------------------------------------------------------

    def _handle_sigterm(self) -> None:
        """Let the sessions end; asked again, end them."""
        if self._ending.has_begun:
            self._ending.hasten()
        else:
            self._ending.begin(self._settings.drain_timeout)

    def _answer_drain(self, request: Request) -> None:
        """Let the sessions end, in their own time or in that of the configuration."""
        if self._ending.has_begun:
            request.fail("it is being stopped already")
            return
        forever = request.words.get("forever")
        self._ending.begin(None if forever else self._settings.drain_timeout)
        request.answer(sessions=self._places.open_sessions())
