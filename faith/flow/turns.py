"""Long work in short turns: between them the loop serves whatever else is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterator


class Turns:
    """Runs iterators on *loop*, one step in each turn, until they end.

    Work that is asked for again while it runs begins once more afterwards, and only once.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._running: dict[str, Iterator[None]] = {}
        self._again: dict[str, Iterator[None]] = {}

    def run(self, name: str, work: Iterator[None]) -> None:
        """Run *work*, which has a *name*."""
        if name in self._running:
            self._again[name] = work
        else:
            self._running[name] = work
            self._loop.call_soon(self._step, name)

    def stop(self) -> None:
        """Drop all work."""
        self._running.clear()
        self._again.clear()

    def _step(self, name: str) -> None:
        work = self._running.get(name)
        if work is None:
            return
        try:
            next(work)
        except StopIteration:
            del self._running[name]
            if again := self._again.pop(name, None):
                self.run(name, again)
        else:
            self._loop.call_soon(self._step, name)
