"""``faith dns``: a supervisor whose workers answer for names."""

from __future__ import annotations

import logging
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.observe import health
from faith.daemon.observe.health import Life
from faith.daemon.observe.log import NOTICE, Log, open_sink
from faith.daemon.process.loop import Loop
from faith.daemon.process.reaping import reap
from faith.daemon.process.systemd import notify
from faith.daemon.services.admin import Admin
from faith.daemon.services.dns_workers import Answering
from faith.dns import dns_counters
from faith.dns.dns_counters import Counters
from faith.dns.lease_file import Book
from faith.errors import ConfigError
from faith.kernel.shared.shared_counters import Area

if TYPE_CHECKING:
    from faith.dns.service import Settings

IDENT = "faith dns"
GRACE = 2.0
"""Seconds a worker has to end once it was told to."""

log = logging.getLogger("faith.dns")


def run(
    settings: Settings, workers: int, user: str, metrics: tuple[str, int] | None = None
) -> None:
    """Answer by *settings* in *workers* processes, which run as *user*, until told to end.

    Messages go to the journal or to standard error, and *metrics* are served at that address and
    port.  Raises FaithError when it cannot start.
    """
    told = Log(open_sink(IDENT, foreground=True), IDENT)
    logging.getLogger().addHandler(told)
    logging.getLogger("faith").setLevel(logging.INFO)
    if settings.pool and workers > 1:
        raise ConfigError("the leases of a pool have one owner: it takes one worker")
    with ExitStack() as undo:
        book = Book(settings.pool_file, settings.pool) if settings.pool else None
        if book:
            undo.callback(book.close)
        _Forwarder(settings, workers, user, book, metrics).run()


class _Forwarder:
    def __init__(
        self,
        settings: Settings,
        workers: int,
        user: str,
        book: Book | None,
        metrics: tuple[str, int] | None,
    ) -> None:
        self._loop = Loop()
        self._area = Area((dns_counters.LAYOUT, health.LIFE), workers + 1)
        self._life = Life(self._area.slab(workers, health.LIFE))
        self._life.started(time.time())
        settings = replace(settings, shared=workers > 1)
        self._answering = Answering(
            self._loop, settings, workers, user, self._forsake, self._counters, book
        )
        self._crew = self._answering.crew
        self._crew.on_gone = self._loop.stop
        self._crew.on_serve = self._changed
        self._crew.on_end = lambda member: self._changed()
        self._crew.on_late(self._changed)
        self._admin = (
            Admin(self._loop, metrics, self._area, self._life, user, self._forsake)
            if metrics
            else None
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        handlers = {
            signal.SIGTERM: self._handle_sigterm,
            signal.SIGINT: self._handle_sigterm,
            signal.SIGCHLD: self._handle_sigchld,
        }
        with ExitStack() as undo:
            undo.callback(self._loop.close)
            undo.enter_context(self._loop.signals(handlers))
            undo.callback(self._crew.kill)
            if self._admin:
                undo.callback(self._admin.crew.kill)
                self._admin.start(partial(self._answering.start, self._serving))
            else:
                self._answering.start(self._serving)
            self._loop.run()

    def _counters(self, number: int) -> Counters:
        """In the process of that number: what it counts in."""
        self._area.enter(number)
        return Counters(self._area.slab(number, dns_counters.LAYOUT))

    def _forsake(self) -> None:
        """In another process, let go of what is the supervisor's."""
        self._loop.close()
        self._area.forsake()
        self._crew.forsake()
        if self._admin:
            self._admin.crew.forsake()
            self._admin.release()

    def _changed(self) -> None:
        self._life.serving(self._crew.serving, self._crew.restarts)
        self._life.late(len(self._crew.late))

    def _serving(self) -> None:
        notify("READY=1")
        log.log(NOTICE, "serving, workers: %s", " ".join(map(str, self._crew.pids)))

    def _handle_sigterm(self) -> None:
        notify("STOPPING=1")
        self._life.drain()
        self._loop.later(GRACE, self._loop.stop)
        self._answering.stop()

    def _handle_sigchld(self) -> None:
        crews = [self._crew, *([self._admin.crew] if self._admin else [])]
        reap(crew.reaped for crew in crews)
