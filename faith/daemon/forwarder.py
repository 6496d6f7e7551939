"""``faith dns``: a supervisor whose workers answer for names."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import uvloop

from faith.daemon.background import notify
from faith.daemon.crew import Crew
from faith.daemon.log import NOTICE, Log, open_sink
from faith.daemon.loop import Loop
from faith.dns.service import serve
from faith.errors import FaithError
from faith.kernel import capabilities

if TYPE_CHECKING:
    from faith.daemon.channel import Channel
    from faith.dns.service import Settings

IDENT = "faith dns"
BIND = "CAP_NET_BIND_SERVICE"
"""Kept by workers, for addresses that the host gets later."""
GRACE = 2.0
"""Seconds a worker has to end once it was told to."""

log = logging.getLogger("faith.dns")


def run(settings: Settings, workers: int, user: str) -> None:
    """Answer by *settings* in *workers* processes, which run as *user*, until told to end.

    Messages go to the journal or to standard error.  Raises FaithError when it cannot start.
    """
    told = Log(open_sink(IDENT, "text", foreground=True), IDENT)
    logging.getLogger().addHandler(told)
    logging.getLogger("faith").setLevel(logging.INFO)
    _Forwarder(settings, workers, user).run()


class _Forwarder:
    def __init__(self, settings: Settings, workers: int, user: str) -> None:
        self._settings = replace(settings, shared=workers > 1)
        self._workers = workers
        self._user = user
        self._loop = Loop()
        self._crew = Crew(self._loop, self._work, {})
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
            self._crew.start(self._workers, self._serving)
            self._loop.run()

    def _serving(self) -> None:
        notify("READY=1")
        log.log(NOTICE, "serving, workers: %s", " ".join(map(str, self._crew.pids)))

    def _handle_sigterm(self) -> None:
        notify("STOPPING=1")
        self._crew.tell("stop")
        self._loop.later(GRACE, self._loop.stop)
        self._crew.retire()

    def _handle_sigchld(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._crew.reaped(pid, status)

    # -- in a worker -------------------------------------------------------------------------

    def _work(self, number: int, channel: Channel) -> None:
        self._loop.close()
        try:
            capabilities.drop(self._user, capabilities.effective() & {BIND})
            uvloop.run(self._serve(channel))
        except (FaithError, OSError) as error:
            channel.send({"kind": "failed", "why": str(error)})

    async def _serve(self, channel: Channel) -> None:
        """Serve until the supervisor says "stop", its only word, or is gone."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task

        def stop() -> None:
            loop.remove_reader(channel.fileno())
            task.cancel()

        loop.add_reader(channel.fileno(), stop)
        with suppress(asyncio.CancelledError):
            await serve(self._settings, lambda: channel.send({"kind": "ready"}))
