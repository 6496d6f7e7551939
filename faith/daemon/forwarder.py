"""``faith dns``: a supervisor whose workers answer for names."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from faith.daemon.answering import Answering
from faith.daemon.log import NOTICE, Log, open_sink
from faith.daemon.loop import Loop
from faith.daemon.systemd import notify
from faith.dns.book import Book
from faith.dns.counters import Counters
from faith.errors import ConfigError

if TYPE_CHECKING:
    from faith.dns.service import Settings

IDENT = "faith dns"
GRACE = 2.0
"""Seconds a worker has to end once it was told to."""

log = logging.getLogger("faith.dns")


def run(settings: Settings, workers: int, user: str) -> None:
    """Answer by *settings* in *workers* processes, which run as *user*, until told to end.

    Messages go to the journal or to standard error.  Raises FaithError when it cannot start.
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
        _Forwarder(settings, workers, user, book).run()


class _Forwarder:
    def __init__(self, settings: Settings, workers: int, user: str, book: Book | None) -> None:
        self._loop = Loop()
        settings = replace(settings, shared=workers > 1)
        self._answering = Answering(
            self._loop, settings, workers, user, self._loop.close, lambda number: Counters(), book
        )
        self._crew = self._answering.crew
        self._crew.on_gone = self._loop.stop

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
            self._answering.start(self._serving)
            self._loop.run()

    def _serving(self) -> None:
        notify("READY=1")
        log.log(NOTICE, "serving, workers: %s", " ".join(map(str, self._crew.pids)))

    def _handle_sigterm(self) -> None:
        notify("STOPPING=1")
        self._loop.later(GRACE, self._loop.stop)
        self._answering.stop()

    def _handle_sigchld(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._crew.reaped(pid, status)
