"""The supervisor's side of a process: what it was sent and has applied, and whether it is alive."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faith.daemon.process.channel import NO_ROOM, close_all, in_memory
from faith.daemon.process.messages import Heartbeat, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from faith.daemon.process.messages import Alive, Order, SupervisorChannel

log = logging.getLogger("faith.supervisor")

MOST_WAITING = 64
"""Orders that wait for room in a channel; one more, and the process is killed."""


@dataclass(frozen=True)
class Desired:
    """The desired state of one topic, in its *generation*.

    *whole* returns its text, and *change* the difference to the generation before, if that can be
    told; *descriptors* returns those that belong to it for the process of a number.  A *binding*
    state must be applied in time: a process that does not is killed.
    """

    generation: int
    whole: Callable[[], str]
    change: Callable[[], str] | None = None
    descriptors: Callable[[int], Iterable[int]] = lambda number: ()
    binding: bool = True


@dataclass(eq=False)
class Worker:
    """A living process; *number* is its place, which a replacement takes over.

    *what* it is is said in messages.
    """

    number: int
    pid: int
    channel: SupervisorChannel
    born: float
    ready: bool = False
    what: str = "process"
    replaces: bool = False
    """It took the place of a process that had died."""
    killed: bool = False
    """It was killed by us, and is to be reaped."""
    heard: float = field(default_factory=time.monotonic)
    """When it answered last, or was born."""
    asked: float | None = None
    """When the first heartbeat was sent that it has not answered."""
    sent: dict[str, int] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    behind: float | None = None
    """Since when it lacks a binding state."""
    _waiting: deque[tuple[Order, list[int]]] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """The name of the process in messages and the log."""
        return f"{self.what} {self.number + 1} (pid {self.pid})"

    def send(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        """Send *order*, now or when there is room; a process with too many waiting is killed."""
        if self._waiting or not self._sent(order, descriptors):
            if len(self._waiting) >= MOST_WAITING:
                self.kill("its control channel is full")
                return
            try:
                self._waiting.append((order, [os.dup(one) for one in descriptors]))
            except OSError as error:
                self.kill(f"its orders cannot be kept: {error.strerror}")

    def send_waiting(self) -> None:
        """Send the orders that wait, as far as there is room."""
        while self._waiting and self._sent(*self._waiting[0]):
            close_all(self._waiting.popleft()[1])

    def beat(self, now: float) -> None:
        """Ask whether it is alive."""
        if self.asked is None:
            self.asked = now
        self._sent(Heartbeat())

    def answered(self, alive: Alive, now: float) -> None:
        """Note that it is alive, and what it has applied: one that gets on does not lag."""
        self.asked, self.heard = None, now
        if self.behind is not None and self.applied != alive.applied:
            self.behind = now
        self.applied = alive.applied

    def silence(self, now: float) -> float:
        """Return the seconds for which it has not answered."""
        return 0.0 if self.asked is None else now - self.asked

    def lag(self, now: float) -> float:
        """Return the seconds for which it lacks a binding state."""
        return 0.0 if self.behind is None else now - self.behind

    def bring(self, topic: str, desired: Desired, now: float) -> None:
        """Send the state it lacks: the difference if it was sent the one before, else the whole."""
        before = desired.generation - 1
        change = desired.change if before and self.sent.get(topic) == before else None
        base = before if change else 0
        order = State(topic, desired.generation, base)
        if desired.binding and self.behind is None:
            self.behind = now
        # What fails, for want of room on either side, is sent again: it is not acknowledged.
        self.sent[topic] = 0
        with suppress(OSError), in_memory((change or desired.whole)()) as text:
            if self._sent(order, [text, *desired.descriptors(self.number)]):
                self.sent[topic] = desired.generation

    def kill(self, why: str) -> None:
        """Kill it, and log *why*."""
        if not self.killed:
            self.killed = True
            log.error("%s: %s; killing it", self.name, why)
            self.end()

    def end(self) -> bool:
        """Kill it; return False, and log it, where that takes a capability that is missing."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            log.error(
                "%s cannot be ended: that needs CAP_KILL, as it is another user's;"
                " it ends with its last session",
                self.name,
            )
            return False
        return True

    def close(self) -> None:
        """Close the channel, and what waits for it."""
        self.channel.close()
        while self._waiting:
            close_all(self._waiting.popleft()[1])

    def _sent(self, order: Order, descriptors: Sequence[int] = ()) -> bool:
        """Send *order*; False when there is no room for it."""
        try:
            self.channel.send(order, descriptors)
        except OSError as error:
            return error.errno not in NO_ROOM  # else it has ended, and will be reaped
        return True
