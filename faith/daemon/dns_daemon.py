"""``faith dns``: a supervisor whose workers answer for names."""

from __future__ import annotations

import logging
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.observe import health, log_counters, name_server_numbers, own_numbers
from faith.daemon.observe.health import Health
from faith.daemon.observe.log import NOTICE, Log, count_in, open_sink, retry_by
from faith.daemon.observe.process_slots import ProcessSlots
from faith.daemon.observe.roles import ADMIN, DNS, SUPERVISOR, Role, several
from faith.daemon.process import role
from faith.daemon.process.heartbeat import BEAT
from faith.daemon.process.loop import Loop
from faith.daemon.process.reaping import reap
from faith.daemon.process.systemd import notify, reloading, watchdog_interval
from faith.daemon.process.worker_pool import PoolEvents
from faith.daemon.services.admin import Admin
from faith.daemon.services.dns_workers import DnsWorkers
from faith.daemon.services.liveness import process_states
from faith.daemon.services.rolling_restart import RollingRestart
from faith.dns.lease_file import LeaseFile
from faith.errors import ConfigError, FaithError
from faith.kernel.descriptor import close_others
from faith.kernel.process import capabilities, oom_score
from faith.kernel.shared.leases import Leases
from faith.kernel.shared.shared_counters import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.daemon.process.worker_pool import WorkerPool
    from faith.dns.service import Settings
    from faith.kernel.descriptor import Source

KEPT = (
    *("CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"),
    "CAP_DAC_OVERRIDE",  # files of other users, which root names
)
"""The capabilities that the supervisor keeps once it serves, of those it has."""
GRACE = 2.0
"""Seconds a worker has to end once it was told to."""

log = logging.getLogger("faith.dns")


def run(
    read: Callable[[], Settings],
    workers: int,
    user: str,
    metrics: tuple[str, int] | None = None,
) -> None:
    """Answer in *workers* processes, which run as *user*, until told to end.

    They go by the settings that *read* gives, now and on SIGHUP.  Messages go to the journal or to
    standard error, and *metrics* are served at that address and port.  Raises FaithError when it
    cannot start.
    """
    settings = read()
    log_handler = Log(open_sink(foreground=True))
    logging.getLogger().addHandler(log_handler)
    role.supervise("faith", sys.argv[2:], f"dns {SUPERVISOR}")
    logging.getLogger("faith").setLevel(logging.INFO)
    if settings.pool and workers > 1:
        raise ConfigError("the leases of a pool have one owner: it takes one worker")
    with ExitStack() as undo:
        lease_file = None
        if settings.pool:
            # In memory too, so that those who come know what those who go have lent meanwhile.
            leases = Leases.create(settings.pool)
            undo.callback(leases.close)
            lease_file = LeaseFile.create(settings.pool_file, settings.pool, leases)
            undo.callback(lease_file.close)
        _DnsDaemon(read, settings, workers, user, lease_file, metrics, log_handler).run()


class _DnsDaemon:
    """The supervisor; on SIGHUP others take the workers' place, and these end when all serve."""

    def __init__(
        self,
        read: Callable[[], Settings],
        settings: Settings,
        workers: int,
        user: str,
        lease_file: LeaseFile | None,
        metrics: tuple[str, int] | None,
        log_handler: Log,
    ) -> None:
        self._read = read
        self._log = log_handler
        self._workers, self._user, self._lease_file = workers, user, lease_file
        self._loop = Loop()
        retry_by(self._loop.later)
        self._area = Area((*name_server_numbers.LAYOUTS, health.COMMON), workers + 2)
        admin, own = workers, workers + 1
        count_in(self._area.slab(own, log_counters.LAYOUT))
        own_numbers.write_in(self._area.slab(own, own_numbers.LAYOUT))
        roles = Role(SUPERVISOR, own), *several(DNS, range(workers)), Role(ADMIN, admin)
        self._slots = ProcessSlots(self._area, roles)
        self._life = Health(self._area.slab(own, health.COMMON))
        self._life.started(time.time())
        self._settings = settings
        # Whatever there is to read anew, others answer by it.
        self._names = RollingRestart(self._loop, self._made, lambda settings: object())
        self._is_reloading = False
        self._is_ending = False
        self._serves = False
        self._admin = (
            Admin(self._loop, metrics, self._slots, self._life, user, self._be_admin)
            if metrics
            else None
        )

    def _made(self, settings: Settings, inherited: None) -> DnsWorkers:
        return DnsWorkers(
            self._loop,
            settings,
            self._workers,
            self._user,
            self._keep_only,
            partial(name_server_numbers.enter, self._area),
            self._lease_file,
            events=PoolEvents(
                serving=self._changed,
                late=self._changed,
                ended=lambda worker: self._changed(),
                empty=self._emptied,
            ),
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        handlers = {
            signal.SIGHUP: self._handle_sighup,
            signal.SIGTERM: self._handle_sigterm,
            signal.SIGINT: self._handle_sigterm,
            signal.SIGCHLD: self._handle_sigchld,
        }
        oom_score.lower_own()
        with ExitStack() as undo:
            undo.callback(self._loop.close)
            undo.enter_context(self._loop.signals(handlers))
            undo.callback(self._names.close)
            self._names.set_up(replace(self._settings, shared=self._workers > 1))
            if self._admin:
                undo.callback(self._admin.pool.kill)
                self._admin.start(partial(self._names.start, self._serving))
            else:
                self._names.start(self._serving)
            self._loop.run()

    def _be_admin(self, kept: Iterable[Source]) -> None:
        """Become the admin listener, which has *kept*."""
        self._area.enter(self._workers)
        count_in(self._area.slab(self._workers, log_counters.LAYOUT))
        own_numbers.write_in(self._area.slab(self._workers, own_numbers.LAYOUT))
        self._keep_only(kept)

    def _look(self) -> None:
        self._slots.judge(process_states(self._pools()))
        own_numbers.own().note()
        self._loop.later(BEAT, self._look)

    def _keep_only(self, kept: Iterable[Source]) -> None:
        """In another process: keep *kept* and the log, and write to no memory but its own."""
        self._area.enter(None)
        close_others([self._log, *kept])

    def _changed(self) -> None:
        group = self._names.group
        if self._serves and group:
            self._life.serving(group.pool.serving, group.pool.restarts)
            self._life.late(len(group.pool.late))

    def _emptied(self) -> None:
        if self._is_ending and not any(pool.pids for pool in self._names.pools()):
            self._loop.stop()

    def _serving(self) -> None:
        """Report that all serve, unless they were told to end while they started."""
        if self._is_ending:
            return
        capabilities.reduce(KEPT)
        assert self._names.group
        was_serving, self._serves = self._serves, True
        self._changed()
        notify("READY=1")
        pids = self._names.group.pool.pids
        log.log(NOTICE, "serving, workers: %s", " ".join(map(str, pids)))
        if not was_serving:
            self._keep_watchdog(watchdog_interval())
            self._look()

    def _keep_watchdog(self, interval: float) -> None:
        if interval:
            if not (self._names.group and self._names.group.pool.late):
                notify("WATCHDOG=1")
            self._loop.later(interval, partial(self._keep_watchdog, interval))

    def _handle_sighup(self) -> None:
        """Start workers that go by what there is to read now, beside those that serve."""
        if self._is_ending or self._is_reloading:
            return
        reloading()
        self._is_reloading = True
        try:
            settings = replace(self._read(), shared=True)
            self._names.prepare(settings, self._reloaded, self._not_reloaded)
        except FaithError as error:
            self._not_reloaded(error)

    def _reloaded(self) -> None:
        """All new workers serve; the others may go."""
        if self._is_reloading:
            self._is_reloading = False
            self._names.apply()
            log.log(NOTICE, "read again")
            self._serving()

    def _not_reloaded(self, error: FaithError) -> None:
        if self._is_reloading:
            self._is_reloading = False
            self._names.drop()
            log.error("not read again: %s", error)
            notify("READY=1")

    def _handle_sigterm(self) -> None:
        notify("STOPPING=1")
        self._is_ending = True
        self._is_reloading = False
        self._life.drain()
        self._loop.later(GRACE, self._loop.stop)
        self._names.stop()

    def _handle_sigchld(self) -> None:
        reap(pool.reaped for pool in self._pools())

    def _pools(self) -> list[WorkerPool]:
        return [*self._names.pools(), *([self._admin.pool] if self._admin else [])]
