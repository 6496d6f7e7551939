"""The process that answers pings: unprivileged, with sockets that were opened for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvloop

from faith.daemon.channel import from_memory
from faith.daemon.handover import Giver, Taker
from faith.daemon.policy import Parts
from faith.datagram.ping import Ping, Settings, Sockets
from faith.errors import FaithError
from faith.kernel import capabilities, sandbox

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.daemon.channel import Channel
    from faith.datagram.ping_counters import Counters
    from faith.translation.destination import Lent

log = logging.getLogger("faith.ping")

PATIENCE = 2.0
"""Seconds to wait for what the process before this one has lent."""


@dataclass(frozen=True)
class Task:
    """What to answer by, and as whom; it *serves* from its start on, or when it is told to."""

    sockets: Sockets
    parts: Parts
    lent: Lent
    user: str
    settings: Settings
    counters: Counters
    serves: bool


def work(task: Task, channel: Channel) -> None:
    """Answer until the supervisor says otherwise or is gone.

    The process drops its privileges here, for good.  What keeps it from serving is told the
    supervisor.
    """
    try:
        capabilities.drop(task.user)
        sandbox.confine(connects=False)
    except (FaithError, OSError) as error:
        channel.send({"kind": "failed", "why": str(error)})
        return
    loop = uvloop.new_event_loop()
    PingProcess(loop, task, channel)
    channel.send({"kind": "ready"})
    loop.run_forever()
    loop.close()


class PingProcess:
    """Ping, and the orders it takes."""

    def __init__(self, loop: AbstractEventLoop, task: Task, channel: Channel) -> None:
        self._loop = loop
        self._channel = channel
        self._lent = task.lent
        policy = task.parts.policy(task.lent)
        self._ping = Ping(loop, task.sockets, policy, task.settings, task.counters)
        self._orders: dict[str, Callable[..., object]] = {
            "policy": self._take_policy,
            "settings": self._take_settings,
            "serve": self._serve_later,
            "take": self._take,
            "give": self._give,
            "stop": loop.stop,
        }
        loop.add_reader(channel.fileno(), self._hear)
        if task.serves:
            self._ping.serve()

    def _hear(self) -> None:
        received = self._channel.receive()
        if received is None:
            self._loop.stop()
            return
        message, descriptors = received
        self._orders[message.pop("kind")](*descriptors, **message)

    def _take_policy(self, descriptor: int) -> None:
        parts = Parts.loads(from_memory(descriptor), self._ping.policy.maps)
        self._ping.policy = parts.policy(self._lent)

    def _take_settings(self, **settings: Any) -> None:
        self._ping.configure(Settings(**settings))

    # -- from one program to the next --------------------------------------------------------

    def _serve_later(self) -> None:
        """Serve as soon as what was lent is known, or before that if nobody tells."""
        self._loop.call_later(PATIENCE, self._ping.serve)

    def _take(self, descriptor: int) -> None:
        Taker(self._loop, descriptor, {"ping": self._ping.lent}, self._loop.stop)

    def _give(self, descriptor: int) -> None:
        self._ping.close()
        Giver(self._loop, descriptor, {"ping": self._ping.lent}, self._given)

    def _given(self, good: bool) -> None:
        if not good:
            log.warning("identifiers of pings that are under way are lost")
        self._loop.stop()
