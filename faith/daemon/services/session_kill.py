"""Sessions of a process ended, a few in every turn of its loop."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

One = TypeVar("One")

SLICE = 100
"""Sessions a turn: 5 to 10 ms, each with its record and two resets."""


class SessionKill(Generic[One]):
    """Ends the sessions that *chosen* yields now, and none that begin later.

    *kill* is called with some of them in each turn, and returns how many of them it found and
    ended; *done* is called with the sum.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        chosen: Iterable[One],
        kill: Callable[[list[One]], int],
        done: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._left = iter(list(chosen))
        self._kill = kill
        self._done = done
        self._ended = 0
        self._go_on()

    def _go_on(self) -> None:
        if some := list(islice(self._left, SLICE)):
            self._ended += self._kill(some)
            self._loop.call_soon(self._go_on)
        else:
            self._done(self._ended)
