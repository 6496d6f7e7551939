"""Tasks that nobody waits for: kept until they end, and ended together; timers are with them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from faith.dns.dns_timers import Timers

if TYPE_CHECKING:
    from collections.abc import Coroutine

    T = TypeVar("T")

log = logging.getLogger("faith.dns")


class Tasks:
    """Running tasks.  What one of them raises is logged and does not concern the others."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self.timers = Timers()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run *coroutine* from the loop's next turn on."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs, and wait for the end of it; call nothing any more."""
        self.timers.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
