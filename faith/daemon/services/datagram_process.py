"""A process that serves datagrams, pings or UDP: unprivileged, with sockets opened for it."""

from __future__ import annotations

import logging
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import uvloop

from faith.daemon.config.policy import PolicyInputs
from faith.daemon.process.channel import from_memory
from faith.daemon.process.worker_handover import Giver, Taker
from faith.errors import FaithError
from faith.kernel.process import capabilities, sandbox

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from faith.daemon.process.channel import Channel
    from faith.daemon.process.worker_handover import Part
    from faith.translation.destination import LeaseLookup, Policy

log = logging.getLogger("faith.datagram")

PATIENCE = 2.0
"""Seconds to wait for what the process before this one hands over."""


class Server(Protocol):
    """What serves, on the loop that it was made with."""

    policy: Policy
    """What decides; it can be replaced at any time."""

    @property
    def handover(self) -> Part:
        """What another process goes on with; when it takes this, it serves."""

    def configure(self, settings: Any) -> None:
        """Go by other settings of its own."""

    def serve(self) -> None:
        """Begin to read, unless it has begun."""

    def close(self) -> None:
        """Read no more."""


@dataclass(frozen=True)
class Task:
    """What serves, made for a loop and a policy, and as whom; *read* gives its settings of words.

    It *serves* from its start on, or when it is told to.
    """

    make: Callable[[AbstractEventLoop, Policy], Server]
    read: Callable[[dict[str, Any]], Any]
    parts: PolicyInputs
    lent: LeaseLookup
    user: str
    serves: bool


def work(task: Task, channel: Channel) -> None:
    """Serve until the supervisor says otherwise or is gone.

    The process drops its privileges here, for good.  What keeps it from serving is told the
    supervisor.
    """
    try:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        capabilities.drop(task.user)
        sandbox.confine(connects=False)
    except (FaithError, OSError) as error:
        channel.send({"kind": "failed", "why": str(error)})
        return
    loop = uvloop.new_event_loop()
    DatagramProcess(loop, task, channel)
    channel.send({"kind": "ready"})
    loop.run_forever()
    loop.close()


class DatagramProcess:
    """What serves, and the orders it takes."""

    def __init__(self, loop: AbstractEventLoop, task: Task, channel: Channel) -> None:
        self._loop = loop
        self._channel = channel
        self._read = task.read
        self._lent = task.lent
        self._server = task.make(loop, task.parts.policy(task.lent))
        self._handed_over = {"server": self._server.handover}
        self._later: TimerHandle | None = None
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
            self._server.serve()

    def _hear(self) -> None:
        received = self._channel.receive()
        if received is None:
            self._loop.stop()
            return
        message, descriptors = received
        self._orders[message.pop("kind")](*descriptors, **message)

    def _take_policy(self, descriptor: int) -> None:
        parts = PolicyInputs.loads(from_memory(descriptor), self._server.policy.maps)
        self._server.policy = parts.policy(self._lent)

    def _take_settings(self, words: dict[str, Any]) -> None:
        self._server.configure(self._read(words))

    # -- from one program to the next --------------------------------------------------------

    def _serve_later(self) -> None:
        """Serve as soon as it is handed over, or before that if nobody does."""
        self._later = self._loop.call_later(PATIENCE, self._server.serve)

    def _take(self, descriptor: int) -> None:
        Taker(self._loop, descriptor, self._handed_over, self._loop.stop)

    def _give(self, descriptor: int) -> None:
        if self._later:
            self._later.cancel()
        self._server.close()
        Giver(self._loop, descriptor, self._handed_over, self._given)

    def _given(self, good: bool) -> None:
        if not good:
            log.warning("what is under way was not handed over, and is lost")
        self._loop.stop()
