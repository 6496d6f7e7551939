"""Calls at moments to come: a heap of them behind one timer of the loop."""

from __future__ import annotations

import asyncio
import math
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EARLY = 0.001
"""Seconds by which the loop may be early: uvloop rounds to milliseconds."""


class Timer:
    """A call to come, unless it is cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Call nothing.  A timer that has fired already is left as it is."""
        self.call = None


class Timers:
    """All timers of a process.

    Most are cancelled long before they are due: setting one is a push on a heap, and cancelling one
    an assignment.  The loop's own timer is set anew only for a call that is due before all others.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = count()
        self._due = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._running: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop().time()

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._running
        if loop is None:
            loop = self._running = asyncio.get_running_loop()
        return loop

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call *call* in so many *seconds*."""
        loop = self._running or self._loop()
        timer = Timer(call)
        due = loop.time() + seconds
        heappush(self._heap, (due, next(self._count), timer))
        if due < self._due:
            self._set(loop, due)
        return timer

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._handle:
            self._handle.cancel()
        self._due = due
        self._handle = loop.call_at(due, self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        heap = self._heap
        now = loop.time() + _EARLY
        self._due = -math.inf  # none that is set meanwhile needs the loop's timer
        try:
            while heap and (heap[0][0] <= now or heap[0][2].call is None):
                timer = heappop(heap)[2]
                if call := timer.call:
                    timer.call = None
                    call()
        finally:
            self._handle = None
            self._due = math.inf
            if heap:
                self._set(loop, heap[0][0])

    def close(self) -> None:
        """Forget all calls."""
        self._heap.clear()
        self._due = math.inf
        if self._handle:
            self._handle.cancel()
            self._handle = None
