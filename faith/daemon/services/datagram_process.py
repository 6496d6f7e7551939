"""A process that serves datagrams, pings or UDP: unprivileged, with sockets opened for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import uvloop

from faith.daemon.config import carried
from faith.daemon.config.policy import PolicyInputs
from faith.daemon.process.child import Child
from faith.daemon.process.messages import Give, Kept, Ready, Serve, Stop, Take
from faith.daemon.process.preamble import confine_child
from faith.daemon.process.worker_handover import Giver, Taker
from faith.translation.map_table import NO_MAPS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

    from faith.daemon.process.messages import Order, ProcessChannel
    from faith.daemon.process.worker_handover import Part
    from faith.translation.destination import LeaseLookup, Policy

log = logging.getLogger("faith.datagram")

POLICY, SETTINGS = "policy", "settings"
"""Topics of the desired state."""

PATIENCE = 2.0
"""Seconds to wait for the handover of the predecessor."""


class Server(Protocol):
    """A server of datagrams, on the loop that it was made with."""

    policy: Policy
    """The policy that decides on datagrams; it can be replaced at any time."""

    @property
    def handover(self) -> Part:
        """The part handed over to another process, which serves once it has taken it."""

    def configure(self, settings: Any) -> None:
        """Apply other settings."""

    def serve(self) -> None:
        """Begin to read, unless it has begun."""

    def close(self) -> None:
        """Read no more."""

    def end(self) -> None:
        """Record what is left: the process ends."""


@dataclass(frozen=True)
class Task:
    """The task of a process: *make* its server for a loop and a policy, and run it as *user*.

    *settings* is the dataclass of the settings.  The process *serves* from its start on, or else
    once the supervisor orders it to.
    """

    make: Callable[[AbstractEventLoop, Policy], Server]
    settings: type[Any]
    policy_inputs: PolicyInputs
    leases: LeaseLookup
    user: str
    serves: bool


def work(task: Task, channel: ProcessChannel) -> None:
    """Serve until the supervisor says otherwise or is gone.

    The process drops its privileges here, for good.  Raises FaithError if it cannot serve.
    """
    confine_child(task.user, connects=False)
    run(DatagramProcess, task, channel)


def run(kind: type[DatagramProcess], task: Task, channel: ProcessChannel) -> None:
    """Serve in a process of that *kind*, which is confined already."""
    loop = uvloop.new_event_loop()
    process = kind(loop, task, channel)
    channel.send(Ready())
    loop.run_forever()
    process.end()
    loop.close()


class DatagramProcess:
    """A process with its server, and the orders that it carries out."""

    def __init__(self, loop: AbstractEventLoop, task: Task, channel: ProcessChannel) -> None:
        self._loop = loop
        self._settings = task.settings
        self._leases = task.leases
        self._server = task.make(loop, task.policy_inputs.policy(task.leases))
        self._handed_over = {"server": self._server.handover}
        self._later: TimerHandle | None = None
        self._channel = channel
        self._child = Child(
            loop,
            channel,
            self.handlers(),
            self._abandoned,
            {POLICY: self._apply_policy, SETTINGS: self._apply_settings},
        )
        if task.serves:
            self._server.serve()

    def handlers(self) -> dict[type[Order], Callable[[Any, list[int]], None]]:
        """Return what handles each order that it takes."""
        return {
            Serve: lambda order, _: self._serve_later(),
            Take: self._receive_handover,
            Give: self._give,
            Stop: lambda order, _: self._loop.stop(),
        }

    def close(self) -> None:
        """Receive no more orders."""
        self._child.close()

    def end(self) -> None:
        """Record what is left."""
        self._server.end()

    def _abandoned(self) -> None:
        """Stop: the supervisor is gone."""
        self._loop.stop()

    def _apply_policy(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        known = self._server.policy.maps if is_change else NO_MAPS
        self._server.policy = PolicyInputs.loads(text, known).policy(self._leases)

    def _apply_settings(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        self._server.configure(carried.loads(text, self._settings))

    # -- from one program to the next --------------------------------------------------------

    def _serve_later(self) -> None:
        """Serve as soon as it is handed over, or before that if nobody does."""
        self._later = self._loop.call_later(PATIENCE, self._server.serve)

    def _receive_handover(self, order: Take, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            Taker(self._loop, descriptor, self._handed_over, self._loop.stop)

    def _give(self, order: Give, descriptors: list[int]) -> None:
        if not descriptors:  # lost for want of room; the supervisor tries once more
            self._channel.send(Kept(0))
            return
        if self._later:
            self._later.cancel()
        self._server.close()
        Giver(self._loop, descriptors[0], self._handed_over, self._given)

    def _given(self, good: bool) -> None:
        if not good:
            log.warning("what is under way was not handed over, and is lost")
        self._loop.stop()
