"""The processes of a daemon that answer for names."""

from __future__ import annotations

import asyncio
import gc
import resource
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import uvloop

from faith.daemon.process.child import Child
from faith.daemon.process.messages import Failed, Ready, Stop
from faith.daemon.process.worker_pool import Crew
from faith.dns.service import serve
from faith.errors import FaithError
from faith.kernel.process import capabilities, sandbox

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.services.interface import Leave
    from faith.dns.dns_counters import Counters
    from faith.dns.lease_file import Book
    from faith.dns.service import Settings

COLLECTION = 50_000
"""New objects until the next search for cycles of them: there are hardly any, and many objects."""
BIND = "CAP_NET_BIND_SERVICE"
"""Kept, for addresses that the host gets later."""


class Answering:
    """So many processes that answer by *settings*, as *user*.

    *counters* gives those of each, by its number; it is called in each of them first, and then
    *leave*, with what it keeps of the supervisor's.  *book* has the leases of the settings' pool;
    then there may be one process only.  They answer on the sockets that are *given*, and no
    others, if there are any.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        workers: int,
        user: str,
        leave: Leave,
        counters: Callable[[int], Counters],
        book: Book | None = None,
        given: Sequence[socket.socket] = (),
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._user = user
        self._leave = leave
        self._counters = counters
        self._book = book
        self._given = given
        self.crew = Crew(loop, self._work, {}, "name server")

    def start(self, on_ready: Callable[[], None]) -> None:
        """Fork them; *on_ready* is called when all of them serve.

        Raises SetupError, from here or from the loop.
        """
        self.crew.start(self._workers, on_ready)

    def stop(self) -> None:
        """Order the processes to end, and start no other."""
        self.crew.tell(Stop())
        self.crew.retire()

    def state(self) -> list[list[Any]]:
        """Return the addresses and ports that they listen on; the next shift shares the ports."""
        return [[*endpoint] for endpoint in self._settings.listen]

    def is_as(self, left: list[list[Any]] | None) -> bool:
        """Return whether the shift whose `state` is *left* has the same addresses and ports."""
        return left == self.state()

    def release(self) -> None:
        """Close the sockets that were given, in this process."""
        for sock in self._given:
            sock.close()

    # -- in such a process -------------------------------------------------------------------

    def _work(self, number: int, channel: ProcessChannel) -> None:
        counters = self._counters(number)
        self._leave([channel, *self._given, *([self._book] if self._book else [])])
        try:
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket for each question
            capabilities.drop(self._user, capabilities.effective() & {BIND})
            sandbox.confine()
            gc.set_threshold(COLLECTION)
            uvloop.run(self._serve(channel, counters))
        except (FaithError, OSError) as error:
            channel.send(Failed(str(error)))

    async def _serve(self, channel: ProcessChannel, counters: Counters) -> None:
        """Serve until the supervisor says "stop", its only word, or is gone."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task
        Child(loop, channel, {}, task.cancel)
        with suppress(asyncio.CancelledError):
            ready = Ready()
            settings = replace(self._settings, workers=self._workers)
            await serve(settings, lambda: channel.send(ready), counters, self._book, self._given)
