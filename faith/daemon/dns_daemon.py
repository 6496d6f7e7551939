"""``faith dns``: a supervisor whose workers answer for names."""

from __future__ import annotations

import logging
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.observe import health, log_counters
from faith.daemon.observe.health import Health
from faith.daemon.observe.log import NOTICE, Log, count_in, open_sink, retry_by
from faith.daemon.process.loop import Loop
from faith.daemon.process.reaping import reap
from faith.daemon.process.systemd import notify, reloading, watchdog_interval
from faith.daemon.services.admin import Admin
from faith.daemon.services.dns_workers import Answering
from faith.dns import dns_counters
from faith.dns.dns_counters import Counters
from faith.dns.lease_file import Book
from faith.errors import ConfigError, FaithError
from faith.kernel.shared.leases import Leases
from faith.kernel.shared.shared_counters import Area

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.process.worker_pool import Crew
    from faith.dns.service import Settings

IDENT = "faith dns"
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
    told = Log(open_sink(IDENT, foreground=True), IDENT)
    logging.getLogger().addHandler(told)
    logging.getLogger("faith").setLevel(logging.INFO)
    if settings.pool and workers > 1:
        raise ConfigError("the leases of a pool have one owner: it takes one worker")
    with ExitStack() as undo:
        book = None
        if settings.pool:
            # In memory too, so that those who come know what those who go have lent meanwhile.
            leases = Leases(settings.pool)
            undo.callback(leases.close)
            book = Book(settings.pool_file, settings.pool, leases)
            undo.callback(book.close)
        _Forwarder(read, settings, workers, user, book, metrics).run()


class _Forwarder:
    """The supervisor; on SIGHUP others take the workers' place, and these end when all serve."""

    def __init__(
        self,
        read: Callable[[], Settings],
        settings: Settings,
        workers: int,
        user: str,
        book: Book | None,
        metrics: tuple[str, int] | None,
    ) -> None:
        self._read = read
        self._workers, self._user, self._book = workers, user, book
        self._loop = Loop()
        retry_by(self._loop.later)
        layouts = dns_counters.LAYOUT, health.COMMON, log_counters.LAYOUT
        self._area = Area(layouts, workers + 1)
        count_in(self._area.slab(workers, log_counters.LAYOUT))
        self._life = Health(self._area.slab(workers, health.COMMON))
        self._life.started(time.time())
        self._answering = self._made(replace(settings, shared=workers > 1))
        self._coming: Answering | None = None
        self._going: list[Answering] = []
        self._ending = False
        self._is_watched = False
        self._admin = (
            Admin(self._loop, metrics, self._area, self._life, user, self._forsake)
            if metrics
            else None
        )

    def _made(self, settings: Settings) -> Answering:
        return Answering(
            self._loop,
            settings,
            self._workers,
            self._user,
            self._forsake,
            self._counters,
            self._book,
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        handlers = {
            signal.SIGHUP: self._handle_sighup,
            signal.SIGTERM: self._handle_sigterm,
            signal.SIGINT: self._handle_sigterm,
            signal.SIGCHLD: self._handle_sigchld,
        }
        with ExitStack() as undo:
            undo.callback(self._loop.close)
            undo.enter_context(self._loop.signals(handlers))
            undo.callback(self._kill)
            if self._admin:
                undo.callback(self._admin.crew.kill)
                self._admin.start(partial(self._answering.start, self._serving))
            else:
                self._answering.start(self._serving)
            self._loop.run()

    def _counters(self, number: int) -> Counters:
        """In the process of that number: what it counts in."""
        self._area.enter(number)
        count_in(self._area.slab(number, log_counters.LAYOUT))
        return Counters(self._area.slab(number, dns_counters.LAYOUT))

    def _forsake(self) -> None:
        """In another process, let go of what is the supervisor's."""
        self._loop.close()
        self._area.close_in_child()
        for crew in self._crews():
            crew.forsake()
        if self._admin:
            self._admin.crew.forsake()
            self._admin.release()

    def _crews(self) -> list[Crew]:
        """Return the crews that may have processes, the serving crew first."""
        self._going = [one for one in self._going if one.crew.pids]
        coming = [self._coming] if self._coming else []
        return [one.crew for one in (self._answering, *coming, *self._going)]

    def _kill(self) -> None:
        for crew in self._crews():
            crew.kill()

    def _changed(self) -> None:
        crew = self._answering.crew
        self._life.serving(crew.serving, crew.restarts)
        self._life.late(len(crew.late))

    def _serving(self) -> None:
        """Have those that serve now watched, and say so."""
        crew = self._answering.crew
        crew.on_serve = self._changed
        crew.on_end = lambda member: self._changed()
        crew.on_late(self._changed)
        self._changed()
        notify("READY=1")
        log.log(NOTICE, "serving, workers: %s", " ".join(map(str, crew.pids)))
        if not self._is_watched:
            self._is_watched = True
            self._keep_watchdog(watchdog_interval())

    def _keep_watchdog(self, interval: float) -> None:
        if interval:
            if not self._answering.crew.late:
                notify("WATCHDOG=1")
            self._loop.later(interval, partial(self._keep_watchdog, interval))

    def _handle_sighup(self) -> None:
        """Start workers that go by what there is to read now, beside those that serve."""
        if self._ending or self._coming:
            return
        reloading()
        try:
            self._coming = self._made(replace(self._read(), shared=True))
            self._coming.crew.on_failure = self._not_reloaded
            self._coming.start(self._take)
        except FaithError as error:
            self._not_reloaded(error)

    def _take(self) -> None:
        """All of those that come serve; the others may go."""
        assert self._coming
        self._going.append(self._answering)
        self._answering.stop()
        self._answering, self._coming = self._coming, None
        log.log(NOTICE, "read again")
        self._serving()

    def _not_reloaded(self, error: FaithError) -> None:
        if self._coming:
            self._coming.crew.kill()
            self._coming = None
        log.error("not read again: %s", error)
        notify("READY=1")

    def _handle_sigterm(self) -> None:
        notify("STOPPING=1")
        self._ending = True
        self._life.drain()
        self._loop.later(GRACE, self._loop.stop)
        if self._coming:
            self._coming.crew.kill()
            self._coming = None
        self._answering.crew.on_gone = self._loop.stop
        self._answering.stop()

    def _handle_sigchld(self) -> None:
        reap(crew.reaped for crew in [*self._crews(), *([self._admin.crew] if self._admin else [])])
