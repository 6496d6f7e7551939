"""The supervisor: the privileged parent, which owns what the kernel has of us and serves nothing.

It reads the rules, sets up the kernel, forks the workers, and then waits for signals, for changes
of the kernel's tables, for workers that die and for connections that want the local server.  It
must be able to fork at any moment: no thread, no asyncio.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from faith.daemon import condition, presence, systemd
from faith.daemon.admin import Admin
from faith.daemon.background import pid_file
from faith.daemon.census import Census
from faith.daemon.channel import in_memory
from faith.daemon.condition import Condition
from faith.daemon.control import Control
from faith.daemon.crew import Crew, how_it_ended
from faith.daemon.data import DataConnections
from faith.daemon.log import NOTICE
from faith.daemon.loop import Loop
from faith.daemon.names import Names
from faith.daemon.orders import Orders
from faith.daemon.policy import Parts, Rules
from faith.daemon.predecessors import Predecessors, as_left
from faith.daemon.reload import Reload
from faith.daemon.reservation import release
from faith.daemon.reservations import Reservations
from faith.daemon.upgrade import Upgrade
from faith.daemon.upkeep import Upkeep
from faith.daemon.worker import Task, work
from faith.dns import counters as dns_counters
from faith.errors import FaithError, SetupError
from faith.kernel import routes
from faith.kernel.sockets import reset
from faith.kernel.steering import bring_in, taken_over
from faith.kernel.tally import Area
from faith.relay import counters
from faith.relay.admission import Admission, Tables
from faith.relay.counters import Counters
from faith.relay.record import endpoint
from faith.translation.ports import Ports
from faith.translation.prefix import Prefixes

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator

    from faith.daemon.background import Background
    from faith.daemon.channel import Channel, Message
    from faith.daemon.control import Request
    from faith.daemon.crew import Hearing, Member
    from faith.daemon.legacy import Legacy, Values
    from faith.daemon.log import Log
    from faith.daemon.settings import Settings
    from faith.kernel.steering import Steering
    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

GRACE = 2.0
"""Seconds a worker has to end once it was told to reset its sessions."""


NAME_SERVERS = 64
"""Places for the counters of processes that answer for names; when these are more, some share."""


class Supervisor:
    """One faithd, from its start to its end."""

    _parts: Parts
    _steering: Steering
    _presence: presence.Announcement
    _watch: routes.Watch

    def __init__(
        self,
        settings: Settings,
        told: Log,
        background: Background,
        reread: Callable[[], Settings],
        legacy: Legacy | None = None,
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._legacy = legacy
        self._log = told
        self._background = background
        self._loop = Loop()
        self._data = DataConnections(settings.workers, lambda: self._parts.prefixes)
        hearings: dict[str, Hearing] = {
            **self._data.hearings,
            "local": self._serve_locally,
        }
        self._crew = Crew(self._loop, self._work, hearings)
        self._census = Census(self._loop, self._crew)
        self._control: Control | None = None
        self._crew.on_gone = self._all_gone
        self._crew.on_end = self._member_gone
        self._crew.on_serve = self._workers_changed
        layouts = counters.LAYOUT, dns_counters.LAYOUT, condition.LAYOUT
        self._area = Area(layouts, settings.workers + NAME_SERVERS + 1)
        self._condition = Condition(self._area.slab(self._area.places - 1, condition.LAYOUT))
        self._tables = Tables(settings.workers)
        self._admin: Admin | None = None
        self._names = Names(self._loop, self._leave, self._dns_counters)
        self._reload: Reload | None = None
        self._upgrade = Upgrade(self._loop, self._left)
        left = legacy["workers"] if legacy and not legacy.on_trial else ()
        self._predecessors = Predecessors(self._loop, hearings, left)
        self._predecessors.crew.on_gone = self._all_gone
        self._serves = legacy is None  # else not before all workers are ready to
        self._upgrade_again = False  # when the last upgrade is over
        self._programs = legacy["programs"] if legacy else 1
        self._started = legacy["started"] if legacy else time.time()
        self._condition.started(self._started)
        self._reservations = Reservations()
        self._upkeep = Upkeep(self._loop, self._reservations, self._condition)
        self._stopping = False

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
            undo.callback(self._data.close)
            undo.callback(self._upgrade.close)
            undo.callback(self._let_predecessors_end)
            self._set_up(undo)
            if self._on_trial:
                undo.callback(self._crew.kill)
                self._crew.start(self._settings.workers, self._loop.stop)
                self._loop.run()
                return
            if self._admin:
                undo.callback(self._admin.close)
                self._admin.start()
            undo.callback(self._crew.kill)
            undo.callback(self._names.kill)
            self._names.start(self._settings, self._relay)
            self._handle_sigchld()  # for whom the program before this one could not reap any more
            self._loop.run()
        log.log(NOTICE, "stopped")

    @property
    def _on_trial(self) -> bool:
        return self._legacy is not None and self._legacy.on_trial

    # -- start -------------------------------------------------------------------------------

    def _set_up(self, undo: ExitStack) -> None:
        """Do every step that can fail, each with its inverse.

        What the program before this one has left is taken over instead.
        """
        settings = self._settings
        legacy = self._legacy
        if legacy:
            legacy.demand(self._same())
        rules = Rules.of(settings)
        settings.check_local_servers()
        self._refuse_taken_ports()
        if settings.metrics:
            listener = legacy["metrics"].get(str(settings.metrics)) if legacy else None
            self._admin = Admin(
                self._loop,
                settings.metrics,
                self._area,
                settings.user,
                lambda: self._leave(keep=self._admin),
                listener,
            )
        undo.callback(self._reservations.close)
        ours = legacy.prefixes("sets_up") if legacy else ()
        for prefix in settings.prefixes:
            if prefix not in ours or not self._on_trial:  # else the old program has it
                self._reservations.hold(prefix, ours=prefix in ours)
        # Watched before they are read, so that no change falls in between.
        self._watch = undo.enter_context(routes.watch())
        self._parts = Parts.gather(rules)
        if not self._parts.prefixes:
            log.warning("no prefix is reserved yet: set one up with faith -e -p PREFIX")
        if legacy:
            self._steering = undo.enter_context(taken_over(legacy["steering"]))
            self._data.resume(legacy["data"])
        else:
            self._steering = undo.enter_context(
                bring_in(
                    settings.via,
                    settings.ports,
                    self._parts.prefixes,
                    settings.workers,
                    own=settings.local_ports,
                )
            )
        self._presence = presence.announce(self._state, legacy["presence"] if legacy else None)
        undo.callback(self._presence.close)
        if self._on_trial:
            return
        if legacy:
            self._steering.set_prefixes(self._parts.prefixes)
        self._steering_changed()
        undo.enter_context(pid_file(settings.pid_file))
        if settings.control:
            self._control = Control(self._loop, settings.control, self._commands())
            undo.callback(self._control.close)
        self._upkeep.start()
        self._loop.watch(self._watch, self._tables_changed)
        self._loop.watch(self._presence, self._presence.answer)

    def _refuse_taken_ports(self) -> None:
        if self._legacy:
            return  # they are the same
        for other in presence.running():
            taken = self._settings.ports & Ports.parse(other.ports, socket.getservbyname)
            if taken:
                raise SetupError(
                    f"serve {self._settings.name}",
                    f"port {taken} is served by faithd {other.service} (pid {other.pid}) already",
                )

    def _relay(self) -> None:
        self._crew.start(self._settings.workers, self._serving)

    def _serving(self) -> None:
        """Every worker serves."""
        self._background.served()
        if self._legacy:
            self._take_over(self._legacy)
        self._tell_systemd()
        self._keep_watchdog(systemd.watchdog_interval())
        log.log(NOTICE, "serving %s", self._description())

    def _tell_systemd(self) -> None:
        systemd.notify("READY=1", f"STATUS=serving {self._description()}")

    def _keep_watchdog(self, interval: float) -> None:
        if interval:
            systemd.notify("WATCHDOG=1")
            self._loop.later(interval, partial(self._keep_watchdog, interval))

    def _work(self, number: int, channel: Channel) -> None:
        """Be a worker, in a process of its own."""
        listeners = self._leave(number)
        settings = self._settings
        task = Task(
            listeners,
            self._steering.redirected,
            self._parts,
            settings.user,
            settings.relay,
            settings.local_ports,
            self._counters(number),
            Admission(settings.relay.limits, self._tables, number),
            settings.recording,
            self._serves,
        )
        work(task, channel, self._log)

    def _leave(self, number: int | None = None, keep: Admin | None = None) -> list[_socket.socket]:
        """In another process, let go of what is the supervisor's; returns a worker's listeners."""
        self._background.detach()
        self._crew.forsake()
        self._names.forsake()
        if self._control:
            self._control.forsake()
        if self._admin and self._admin is not keep:
            self._admin.forsake()
        self._predecessors.crew.forsake()
        self._presence.close()
        self._watch.close()
        self._loop.close()
        self._data.close()
        return self._steering.after_fork(number)

    # -- from one program to the next --------------------------------------------------------

    def _handle_sigusr2(self) -> None:
        """Have the program that is on disk now take over."""
        if self._stopping or not self._crew.serving:
            log.warning("not upgraded: nobody serves, or not for long")
        elif self._predecessors.crew.pids:
            self._upgrade_again = True
        else:
            self._upgrade.begin()

    def _same(self) -> dict[str, str]:
        """What an upgrade cannot change, because sockets of before are to do for it."""
        settings = self._settings
        return {
            "ports": str(settings.ports),
            "ports with a local server": str(settings.local_ports),
            "way": settings.via,
            "workers": str(settings.workers),
        }

    def _left(self) -> tuple[Values, list[int]]:
        """What the next program gets, and the descriptors in it."""
        members = self._predecessors.crew.members + self._crew.members
        names = [member for crew in self._names.crews() for member in crew.members]
        admin = self._admin
        values = {
            "same": self._same(),
            "steering": self._steering.state(),
            "data": self._data.state(),
            "presence": self._presence.fileno(),
            "metrics": {str(self._settings.metrics): admin.fileno()} if admin else {},
            "sets_up": [(str(prefix), prefix.layout) for prefix in self._reservations.set_up],
            "workers": as_left(members),
            "until served": [member.channel.fileno() for member in names],
            "started": self._started,
            "programs": self._programs,
            "files": self._files(),
        }
        descriptors = [*self._steering.descriptors, *self._data.descriptors]
        descriptors += [member.channel.fileno() for member in members + names]
        descriptors += [self._presence.fileno(), *([admin.fileno()] if admin else [])]
        return values, descriptors

    def _take_over(self, legacy: Legacy) -> None:
        """Serve, all workers at once, and have the old ones hand over their sessions."""
        self._serves = True
        self._crew.tell("serve")
        self._programs += 1
        for file in {*legacy["files"]} - {*self._files()}:
            Path(file).unlink(missing_ok=True)
        for prefix in legacy.prefixes("sets_up") - {*self._reservations.set_up}:
            release(prefix)
        for channel in legacy["until served"]:
            os.close(channel)  # for the processes behind it a sign to end
        for old, heir in self._predecessors.hand_over(self._crew.members):
            self._data.succeed(heir, old)

    def _files(self) -> list[str]:
        """Those that are there for as long as the daemon is."""
        return [str(file) for file in (self._settings.pid_file, self._settings.control) if file]

    def _let_predecessors_end(self) -> None:
        """If this program fails before they have handed over, their sessions may go on."""
        if self._stopping:
            self._predecessors.crew.kill()

    def _all_gone(self) -> None:
        """The workers have ended, or the old ones have: whichever there are no more of."""
        if self._stopping:
            if not self._predecessors.crew.pids and not self._crew.pids:
                self._loop.stop()
        else:
            log.log(NOTICE, "upgraded to program %d: all is handed over", self._programs)
            if self._upgrade_again:
                self._upgrade_again = False
                self._upgrade.begin()

    # -- changes -----------------------------------------------------------------------------

    def _tables_changed(self) -> None:
        """Follow prefixes that come and go, and the gateway's own addresses."""
        if not self._watch.drain():
            return
        self._upkeep.look()
        before = self._parts.prefixes
        try:
            self._decide_by(Parts.gather(self._parts.rules))
            if self._parts.prefixes != before:
                # The workers know them already when the first connection comes.
                self._steering.set_prefixes(self._parts.prefixes)
                self._steering_changed()
                log.log(NOTICE, "prefixes: %s", _listed(self._parts.prefixes))
        except (FaithError, OSError) as error:
            log.error("a change of the prefixes is not followed: %s", error)

    def _handle_sighup(self) -> None:
        """Read the configuration again; an error leaves everything as it was."""
        self._start_reload(lambda error: None)

    def _answer_reload(self, request: Request) -> None:
        self._start_reload(lambda error: request.fail(error) if error else request.answer())

    def _start_reload(self, ended: Callable[[FaithError | None], None]) -> None:
        if self._stopping:
            ended(FaithError("it is being stopped"))
            return

        def take(settings: Settings, rules: Rules) -> None:
            self._take_settings(settings, rules)
            ended(None)

        def refuse(error: FaithError) -> None:
            self._keep_settings(error)
            ended(error)

        systemd.reloading()
        if self._reload:
            self._reload.abandon()
        self._reload = Reload(self._settings, self._names, self._reservations)
        self._reload.start(self._reread, take, refuse)

    def _take_settings(self, settings: Settings, rules: Rules) -> None:
        self._settings = settings
        self._log.form = settings.log
        self._condition.reloaded(good=True)
        with in_memory(self._orders().dumps()) as descriptor:
            self._crew.tell("orders", [descriptor])
        self._decide_by(replace(self._parts, rules=rules))
        log.log(NOTICE, "read again; %s: %d rules", rules.file, len(rules.access().rules))
        self._tell_systemd()

    def _keep_settings(self, error: FaithError) -> None:
        self._condition.reloaded(good=False)
        log.error("%s; everything stays as it was", error)
        self._tell_systemd()

    def _orders(self) -> Orders:
        settings = self._settings
        return Orders(settings.relay, settings.recording, settings.local_ports, settings.log)

    def _steering_changed(self) -> None:
        self._condition.steered([self._steering.way], len(self._parts.prefixes))

    def _workers_changed(self) -> None:
        self._condition.serving(self._crew.serving, self._crew.restarts)

    def _decide_by(self, parts: Parts) -> None:
        if parts != self._parts:
            self._parts = parts
            with in_memory(parts.dumps()) as descriptor:
                self._crew.tell("policy", [descriptor])

    # -- the workers -------------------------------------------------------------------------

    def _counters(self, number: int) -> Counters:
        """Those of a worker's place, which a replacement goes on with."""
        return Counters(self._area.slab(number, counters.LAYOUT))

    def _dns_counters(self, number: int) -> dns_counters.Counters:
        """Those of a name server's place, behind the workers'; the next ones go on with them."""
        place = self._settings.workers + number % NAME_SERVERS
        return dns_counters.Counters(self._area.slab(place, dns_counters.LAYOUT))

    def _member_gone(self, member: Member) -> None:
        self._counters(member.number).lost()
        self._tables.clear(member.number)
        self._workers_changed()
        self._data.forget(member)
        self._census.gone(member)

    # -- the local server --------------------------------------------------------------------

    def _serve_locally(self, member: Member, message: Message, descriptors: list[int]) -> None:
        with socket.socket(fileno=os.dup(descriptors[0])) as connection:
            server = self._settings.local_server(connection.getsockname()[1])
            if server is None:  # no worker of ours would ask
                reset(connection)
                return
            try:
                if _is_mapped(connection):
                    reset(connection)
                    return
                client = endpoint(connection.getpeername()[:2])
                pid = server.start(connection)
            except OSError as error:
                log.error("executing local %s: %s", server.path, error.strerror)
            else:
                log.info("executing local %s for %s (pid %d)", server.path, client, pid)

    def _handle_sigchld(self) -> None:
        """Reap all that have ended, orphans included: we may be PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self._upgrade.reaped(pid, status):
                continue
            if not any(crew.reaped(pid, status) for crew in self._crews()) and status:
                log.warning("child %d %s", pid, how_it_ended(status))

    def _crews(self) -> Iterator[Crew]:
        yield from (self._crew, self._predecessors.crew)
        yield from self._names.crews()
        if self._admin:
            yield self._admin.crew

    def _commands(self) -> dict[str, Callable[[Request], None]]:
        return {
            "status": lambda request: request.answer(**asdict(self._state())),
            "sessions": self._census.tell,
            "kill": self._census.kill,
            "reload": self._answer_reload,
            "drain": self._answer_drain,
        }

    # -- state -------------------------------------------------------------------------------

    def _state(self) -> presence.Running:
        return presence.Running(
            pid=os.getpid(),
            service=self._settings.name,
            ports=str(self._settings.ports),
            via=self._steering.way,
            workers=len(self._crew.pids),
            started=self._started,
            prefixes=[str(prefix) for prefix in self._parts.prefixes],
            sets_up=[str(prefix) for prefix in self._reservations.set_up],
            sessions=self._open_sessions(),
            draining=self._stopping,
            control=str(self._settings.control) if self._control else None,
            programs=self._programs,
            failed=self._upgrade.failures,
        )

    def _description(self) -> str:
        return (
            f"{self._settings.name} (port {self._settings.ports}) by {self._steering.way},"
            f" prefixes: {_listed(self._parts.prefixes)}, workers:"
            f" {' '.join(map(str, self._crew.pids))}"
        )

    def _handle_sigusr1(self) -> None:
        log.log(NOTICE, "sessions: %d, %s", self._open_sessions(), self._description())

    def _open_sessions(self) -> int:
        return self._area.total(counters.LAYOUT, counters.LAYOUT.start(counters.OPEN))

    # -- end ---------------------------------------------------------------------------------

    def _handle_sigterm(self) -> None:
        """Let the sessions end; asked again, end them."""
        if self._stopping:
            self._reset_sessions()
        else:
            self._drain(self._settings.drain_timeout)

    def _answer_drain(self, request: Request) -> None:
        """Let the sessions end, in their own time or in that of the configuration."""
        if self._stopping:
            request.fail("it is being stopped already")
            return
        self._drain(None if request.words.get("forever") else self._settings.drain_timeout)
        request.answer(sessions=self._open_sessions())

    def _drain(self, seconds: float | None) -> None:
        """Take no more connections, and end with the last session, or after *seconds*."""
        self._stopping = True
        self._upgrade.close()
        self._condition.drain()
        systemd.notify("STOPPING=1")
        limit = "all the time they want" if seconds is None else f"{seconds:g} s"
        log.log(NOTICE, "stopping: sessions have %s to end", limit)
        # Ours too, or the kernel would go on queueing connections that nobody accepts.  What feeds
        # them stays, established sessions may depend on it.
        for listeners in self._steering.listeners:
            for listener in listeners:
                listener.close()
        self._predecessors.crew.tell("drain")
        self._crew.tell("drain")
        self._names.stop()
        if seconds is not None:
            self._loop.later(seconds, self._reset_sessions)
        self._crew.retire()

    def _reset_sessions(self) -> None:
        self._predecessors.crew.tell("stop")
        self._crew.tell("stop")
        self._loop.later(GRACE, self._loop.stop)


def _is_mapped(connection: socket.socket) -> bool:
    """Whether it came to a prefix so new that the worker did not know it yet."""
    address = socket.inet_pton(socket.AF_INET6, connection.getsockname()[0].partition("%")[0])
    return Prefixes(routes.reserved()).find(int.from_bytes(address, "big")) is not None


def _listed(prefixes: Iterable[Prefix]) -> str:
    return ", ".join(map(str, prefixes)) or "none"
