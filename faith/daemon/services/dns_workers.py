"""The processes of a daemon that answer for names."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import uvloop

from faith.daemon.process.child import Child
from faith.daemon.process.messages import Ready
from faith.daemon.process.preamble import confine_child
from faith.daemon.process.worker_pool import NO_EVENTS, PoolEvents, WorkerPool
from faith.daemon.services.rolling_restart import ProcessGroup
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.services.interface import Leave
    from faith.dns.dns_counters import Counters
    from faith.dns.lease_file import LeaseFile
    from faith.dns.service import Settings

COLLECTION = 50_000
"""New objects until the next search for cycles of them: there are hardly any, and many objects."""
BIND = "CAP_NET_BIND_SERVICE"
"""Kept, for addresses that the host gets later."""


class DnsWorkers(ProcessGroup):
    """So many processes that answer by *settings*, as *user*.

    *counters* gives those of each, by its number; it is called in each of them first, and then
    *leave*, with what it keeps of the supervisor's.  *lease_file* has the leases of the settings'
    pool; then there may be one process only.  They answer on the sockets that are *given*, and no
    others, if there are any.  *events* are those of the pool of processes.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        workers: int,
        user: str,
        leave: Leave,
        counters: Callable[[int], Counters],
        lease_file: LeaseFile | None = None,
        given: Sequence[socket.socket] = (),
        events: PoolEvents = NO_EVENTS,
    ) -> None:
        self._settings = settings
        self._user = user
        self._leave = leave
        self._counters = counters
        self._lease_file = lease_file
        self._given = given
        super().__init__(WorkerPool(loop, self._work, {}, "name server", events), workers)

    def state(self) -> list[list[Any]]:
        """Return the addresses and ports that they listen on; the next group shares the ports."""
        return [[*endpoint] for endpoint in self._settings.listen]

    def is_as(self, inherited: Any) -> bool:
        """Return whether a group whose state is *inherited* has the same addresses and ports."""
        return bool(inherited == self.state())

    def release(self) -> None:
        """Close the sockets that were given, in this process."""
        for sock in self._given:
            sock.close()

    # -- in such a process -------------------------------------------------------------------

    def _work(self, number: int, channel: ProcessChannel) -> None:
        counters = self._counters(number)
        self._leave([channel, *self._given, *([self._lease_file] if self._lease_file else [])])
        confine_child(self._user, capabilities.effective() & {BIND})
        gc.set_threshold(COLLECTION)
        uvloop.run(self._serve(channel, counters))

    async def _serve(self, channel: ProcessChannel, counters: Counters) -> None:
        """Serve until the supervisor says "stop", its only word, or is gone."""
        from faith.dns.service import serve  # the supervisor has imported it with the settings

        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task
        Child(loop, channel, {}, task.cancel)
        with suppress(asyncio.CancelledError):
            ready = Ready()
            settings = replace(self._settings, workers=self._workers)
            await serve(
                settings, lambda: channel.send(ready), counters, self._lease_file, self._given
            )
