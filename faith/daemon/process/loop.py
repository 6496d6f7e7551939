"""A small event loop for a process that must be able to fork at any time: no thread, no asyncio."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    Action = Callable[[], object]
    _Timer = tuple[float, int, Action]


class Source(Protocol):
    """Something that can become readable."""

    def fileno(self) -> int:
        """Its descriptor."""


class Loop:
    """Waits for descriptors, timers and signals, and calls what belongs to each."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[_Timer] = []
        self._order = itertools.count()
        self._signals: Mapping[signal.Signals, Action] = {}
        self._told, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._told, selectors.EVENT_READ, self._handle_signals)
        self._running = False

    def watch(self, source: Source, ready: Action, *, writable: bool = False) -> None:
        """Call *ready* whenever *source* can be read, or written to if *writable*."""
        events = selectors.EVENT_WRITE if writable else selectors.EVENT_READ
        self._selector.register(source, events, ready)

    def forget(self, source: Source) -> None:
        """Watch *source* no more; a no-op when it is not watched, or closed."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(source)

    def later(self, seconds: float, action: Action) -> Callable[[], None]:
        """Call *action* once, *seconds* from now, unless what is returned is called before that."""
        timer = time.monotonic() + seconds, next(self._order), action
        heapq.heappush(self._timers, timer)
        return partial(self._call_off, timer)

    @contextmanager
    def signals(self, handlers: Mapping[signal.Signals, Action]) -> Iterator[None]:
        """Within the block, a signal only enters a queue; the loop calls its handler from there."""
        self._signals = handlers
        previous = {number: signal.signal(number, _enqueue) for number in handlers}
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        # The predecessor process may have left these signals blocked and pending.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def run(self) -> None:
        """Serve until :meth:`stop`; what a callback raises ends it too."""
        self._running = True
        while self._running:
            for key, _ in self._selector.select(self._until_next()):
                # An earlier callback of this turn may have forgotten it.
                if key.fd in self._selector.get_map():
                    key.data()
            self._call_due()

    def stop(self) -> None:
        """Let :meth:`run` return after the callback at hand."""
        self._running = False

    def close(self) -> None:
        """Release the descriptors; in a forked child, this leaves the parent's loop untouched."""
        self._selector.close()
        os.close(self._told)
        os.close(self._tell)

    def _call_off(self, timer: _Timer) -> None:
        if timer in self._timers:
            self._timers.remove(timer)
            heapq.heapify(self._timers)

    def _until_next(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_due(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _handle_signals(self) -> None:
        for number in os.read(self._told, 4096):
            self._signals[signal.Signals(number)]()


def _enqueue(number: int, frame: FrameType | None) -> None:
    """Nothing: the interpreter has put the number into the wake-up pipe."""
