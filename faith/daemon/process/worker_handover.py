"""What one worker hands over to the worker of the next program, while it serves.

It goes in lots over a socket of their own, the descriptors by SCM_RIGHTS and the rest as JSON in
memory.  A lot is the giver's until the taker has answered that it has taken it, so neither a byte
nor a session is lost when one of them dies: what was not taken stays with who had it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.process.channel import Channel, from_memory, in_memory

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


class Part(Protocol):
    """Something that can be handed over, lot by lot."""

    @property
    def left(self) -> bool:
        """Whether there is more to come, be it not at this moment."""

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """A lot: states fit for JSON, and at most *room* descriptors, which are the caller's.

        Nothing of it goes on here.
        """

    def take(self, states: list[Any], descriptors: list[int]) -> None:
        """Go on with a lot that another process, or this one, has given.

        Raises when it makes no sense of it; the process must then end.
        """


class Giver:
    """Hands over *parts*, in their order, by *descriptor*; *done* hears whether all are taken.

    If not, what is left is here still, and goes on here.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        descriptor: int,
        parts: Mapping[str, Part],
        done: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._channel = Channel(socket.socket(fileno=descriptor))
        self._parts = parts
        self._done = done
        self._under_way: tuple[str, list[Any], list[int]] | None = None
        loop.add_reader(self._channel.fileno(), self._answered)
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
        assert self._under_way
        name, states, descriptors = self._under_way
        try:
            with in_memory(json.dumps(states)) as text:
                self._channel.send({"kind": name}, [text, *descriptors])
        except OSError as error:
            log.error("sessions cannot be handed over: %s", error.strerror)
            self._take_back()

    def _answered(self) -> None:
        if self._channel.receive() is None:
            self._take_back()
        elif self._under_way:
            for descriptor in self._under_way[2]:
                os.close(descriptor)
            self._under_way = None
            self._loop.call_soon(self._next)  # the sessions that are here have their turn

    def _take_back(self) -> None:
        if self._under_way:
            name, states, descriptors = self._under_way
            self._under_way = None
            self._parts[name].take(states, descriptors)
        self._end(good=False)

    def _end(self, *, good: bool) -> None:
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._done(good)


class Taker:
    """Takes *parts* over by *descriptor*; *failed* is called when one makes no sense."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        descriptor: int,
        parts: Mapping[str, Part],
        failed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._channel = Channel(socket.socket(fileno=descriptor), SCM_MAX_FD)
        self._parts = parts
        self._failed = failed
        loop.add_reader(self._channel.fileno(), self._hear)

    def _hear(self) -> None:
        received = self._channel.receive()
        if received is None:
            self._end()
            return
        message, (text, *descriptors) = received
        try:
            self._parts[message["kind"]].take(json.loads(from_memory(text)), descriptors)
        except Exception:
            log.exception("what the old program hands over makes no sense")
            self._end()
            self._failed()
        else:
            self._channel.send({"kind": "taken"})

    def _end(self) -> None:
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
