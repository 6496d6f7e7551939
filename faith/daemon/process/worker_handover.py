"""The handover from a worker to the worker of the next program, while the giver still serves.

The parts go in lots over a socket of their own, the descriptors by SCM_RIGHTS and the rest as JSON
in memory.  A lot belongs to the giver until the taker has acknowledged it, so neither a byte nor a
session is lost when either worker dies, or the taker has no room for a lot: a lot that was not
acknowledged stays with the giver.
"""

from __future__ import annotations

import json
import logging
import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.process.channel import NO_ROOM, from_memory, in_memory
from faith.daemon.process.messages import Coming, Lot, Refused, Taken, handover_end

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

log = logging.getLogger("faith.handover")

SCM_MAX_FD = 253
"""Descriptors that the kernel carries in one message."""
ROOM = SCM_MAX_FD - 1
"""Descriptors of a lot: one more is the text."""
AGAIN = 0.005
"""Seconds until a part is asked again that has more, and nothing that could go."""
REFUSED_AGAIN = 0.1
"""Seconds until a lot is sent again that was refused."""
MOST_REFUSALS = 20
"""Times that a lot is refused in a row until what is left stays."""
PATIENCE = 20.0
"""Seconds without a lot that was taken until what is left stays."""
LEAST = 64
"""Descriptors that a taker may have for all else, whatever is coming."""


class Part(Protocol):
    """Something that can be handed over, lot by lot."""

    @property
    def left(self) -> bool:
        """Return whether more is to be handed over, even if nothing can be at this moment."""

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """A lot: states fit for JSON, and at most *room* descriptors, which are the caller's.

        Nothing of it goes on here.
        """

    def adopt(self, states: list[Any], descriptors: list[int]) -> None:
        """Go on with a lot that another process, or this one, has given.

        Raises when it makes no sense of it; the process must then end.
        """


class Giver:
    """Hands over *parts*, in their order, by *descriptor*; *done* hears whether all are taken.

    If not, what is left is here still, and goes on here.  It ends in any case.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        descriptor: int,
        parts: Mapping[str, Part],
        done: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._channel = handover_end(descriptor)
        self._parts = parts
        self._done = done
        self._under_way: tuple[str, list[Any], list[int]] | None = None
        self._refusals = 0
        self._answer_due = False
        loop.add_reader(self._channel.fileno(), self._answered)
        self._deadline = loop.call_later(PATIENCE, self._give_up)
        with suppress(OSError):
            self._channel.send(Coming(len(os.listdir("/proc/self/fd"))))
        self._next()

    def _next(self) -> None:
        if self._channel.fileno() < 0:
            return  # the taker has died meanwhile
        for name, part in self._parts.items():
            states, descriptors = part.give(ROOM)
            if states:
                self._under_way = name, states, descriptors
                self._send()
                return
            if part.left:
                self._loop.call_later(AGAIN, self._next)
                return
        self._end(good=True)

    def _send(self) -> None:
        if self._channel.fileno() < 0 or not self._under_way:
            return
        name, states, descriptors = self._under_way
        try:
            with in_memory(json.dumps(states)) as text:
                self._channel.send(Lot(name), [text, *descriptors])
            self._answer_due = True
        except OSError as error:
            if error.errno in NO_ROOM:
                self._refused()
                return
            log.error("sessions cannot be handed over: %s", error.strerror)
            self._take_back()

    def _answered(self) -> None:
        try:
            received = self._channel.receive()
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        self._answer_due = False
        if received is None:
            self._take_back()
        elif isinstance(received.message, Refused):
            self._refused()
        elif self._under_way:
            for descriptor in self._under_way[2]:
                os.close(descriptor)
            self._under_way = None
            self._refusals = 0
            self._deadline.cancel()
            self._deadline = self._loop.call_later(PATIENCE, self._give_up)
            self._loop.call_soon(self._next)  # the sessions that are here have their turn

    def _refused(self) -> None:
        """Send the lot again when the taker may have room; its sessions stand still meanwhile."""
        self._refusals += 1
        if self._refusals < MOST_REFUSALS:
            self._loop.call_later(REFUSED_AGAIN, self._send)
        else:
            log.warning("there is no room to hand over the sessions that are left")
            self._take_back()

    def _give_up(self) -> None:
        """Keep what is left, unless a lot may be the taker's: if that hangs, it is killed."""
        if self._answer_due:
            self._deadline = self._loop.call_later(PATIENCE, self._give_up)
        else:
            self._take_back()

    def _take_back(self) -> None:
        if self._channel.fileno() < 0:
            return
        under_way, self._under_way = self._under_way, None
        self._close()
        if under_way:
            name, states, descriptors = under_way
            self._parts[name].adopt(states, descriptors)
        self._done(False)

    def _end(self, *, good: bool) -> None:
        if self._channel.fileno() >= 0:
            self._close()
            self._done(good)

    def _close(self) -> None:
        self._deadline.cancel()
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()


class Room:
    """Descriptors of this process that are kept for sessions on their way.

    The soft limit is as much lower meanwhile, so that new connections are refused for want of
    descriptors, and sessions that are there already are not.
    """

    def __init__(self) -> None:
        self._coming: dict[Taker, int] = {}

    def keep(self, taker: Taker, descriptors: int) -> None:
        """Keep room for so many descriptors that are to come by *taker*."""
        self._coming[taker] = max(descriptors, 0)
        self._limit(sum(self._coming.values()))

    def release(self, taker: Taker) -> None:
        """Keep nothing for *taker* any more."""
        self._coming.pop(taker, None)
        self._limit(sum(self._coming.values()))

    def open(self) -> None:
        """Let the next message of a taker have what is kept; `keep` is to be called after it."""
        self._limit(0)

    def _limit(self, kept: int) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most - kept, min(LEAST, most)), most))


class Taker:
    """Takes *parts* over by *descriptor*, in the *room* that is kept for them.

    *failed* is called when one makes no sense.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        descriptor: int,
        parts: Mapping[str, Part],
        failed: Callable[[], None],
        room: Room | None = None,
    ) -> None:
        self._loop = loop
        self._channel = handover_end(descriptor)
        self._parts = parts
        self._failed = failed
        self._room = room or Room()
        self._coming = 0
        loop.add_reader(self._channel.fileno(), self._receive)

    def _receive(self) -> None:
        if self._coming:
            self._room.open()
        try:
            received = self._channel.receive()
            if received is None:
                self._end()
            elif isinstance(received.message, Coming):
                self._coming = received.message.descriptors
            elif received.cut:
                self._channel.send(Refused())
            elif isinstance(received.message, Lot):
                self._coming -= len(received.descriptors)
                self._take(received.message.part, *received.descriptors)
        except BlockingIOError:
            pass
        except (OSError, ValueError):  # the giver has died, or is not itself any more
            self._end()
        if self._channel.fileno() >= 0:
            self._room.keep(self, self._coming)

    def _take(self, part: str, text: int, *descriptors: int) -> None:
        try:
            self._parts[part].adopt(json.loads(from_memory(text)), [*descriptors])
        except Exception:
            log.exception("what the old program hands over makes no sense")
            self._end()
            self._failed()
        else:
            self._channel.send(Taken())

    def _end(self) -> None:
        self._room.release(self)
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
