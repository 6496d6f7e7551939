"""Timers by name, of which one object has a few."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable


class Timers:
    """Calls actions later, unless they are cancelled; a name is in it until that is decided."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._handles: dict[str, TimerHandle] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def start(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Call *action* in so many seconds; a no-op if one of that *name* is going to be called."""

        def act() -> None:
            del self._handles[name]
            action()

        if name not in self._handles:
            self._handles[name] = self._loop.call_later(seconds, act)

    def cancel(self, name: str) -> None:
        """Do not call the action of that *name*; a no-op if there is none."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.cancel()

    def cancel_all(self) -> None:
        """Call none of them."""
        for name in list(self._handles):
            self.cancel(name)
