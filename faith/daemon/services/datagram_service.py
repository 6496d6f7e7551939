"""Datagrams, from the supervisor's side: a service of one process, and what is held for it."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.config import carried
from faith.daemon.process.messages import Serve
from faith.daemon.process.worker_pool import Crew
from faith.daemon.services.datagram_process import POLICY, SETTINGS, Task, work
from faith.daemon.services.rolling_restart import ProcessGroup, RollingRestart
from faith.errors import FaithError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.services.datagram_process import Server
    from faith.daemon.services.interface import Leave
    from faith.translation.destination import LeaseLookup, Policy

log = logging.getLogger("faith.supervisor")


class Gear(Protocol):
    """The gear of such a process, held by the supervisor: sockets, and the steering to them."""

    def state(self) -> Any:
        """Return the state from which the next program resumes the gear, fit for JSON."""

    def sockets(self) -> Any:
        """Return the sockets, in a tuple, for a process that serves."""

    def decide_by(self, parts: PolicyInputs) -> None:
        """Steer datagrams to these prefixes and mapped networks here.  Raises SetupError."""

    def close(self) -> None:
        """Close all descriptors; the steering ends with the last process that holds them."""


class Kind(Protocol):
    """The kind of such a service: pings, or UDP."""

    name: str
    """The name of its process in the log."""
    settings: type[Any]
    """The dataclass of its settings."""

    def enter(self) -> None:
        """In the process, before all else: write its numbers, and no others."""

    def wanted(self, settings: Settings) -> Any:
        """Its settings among those of the daemon, or None when nobody wants it."""

    def gear(self, settings: Settings) -> Gear:
        """New gear for a daemon that goes by *settings*.

        Raises SetupError; nothing stays behind then.
        """

    def adopt(self, state: Any) -> Gear:
        """Adopt the gear whose `Gear.state` the predecessor process left."""

    def server(self, loop: AbstractEventLoop, policy: Policy, sockets: Any, wanted: Any) -> Server:
        """Return the server for the settings *wanted*, in its process."""


class DatagramGroup(ProcessGroup):
    """The process that serves *kind* by *settings*, and its *gear*.

    *leave* is called in that process, with what it keeps of this one's, and *leases* looks up the
    leases of the pool.  If it *waits*, it reads nothing before `serve`.
    """

    hands_over = True

    def __init__(
        self,
        loop: Loop,
        kind: Kind,
        gear: Gear,
        settings: Any,
        user: str,
        leases: LeaseLookup,
        leave: Leave,
        *,
        waits: bool = False,
    ) -> None:
        self._kind = kind
        self._gear = gear
        self._settings = settings
        self._user = user
        self._leases = leases
        self._leave = leave
        self._waits = waits
        self._policy: PolicyInputs | None = None
        carried.decoder(kind.settings)
        super().__init__(Crew(loop, self._work, {}, kind.name))

    def serve(self) -> None:
        """Have the process read what comes."""
        if self._waits:
            self._waits = False
            self.crew.tell(Serve())

    def steer(self, policy: PolicyInputs) -> None:
        """Steer datagrams to the process; what the kernel refuses is logged."""
        try:
            self._gear.decide_by(policy)
        except FaithError as error:
            log.error("the %s does not follow a change: %s", self._kind.name, error)

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Have the process apply *policy*."""
        before, self._policy = self._policy, policy
        known = before.maps if before else None
        change = None if known is None else cache(lambda: policy.dumps(known))
        self.crew.desire(POLICY, cache(policy.dumps), change)

    def apply_settings(self, settings: Settings) -> None:
        """Have the process apply its part of *settings*."""
        wanted = self._settings = self._kind.wanted(settings)
        self.crew.desire(SETTINGS, cache(lambda: carried.dumps(wanted)))

    def state(self) -> Any:
        """Return the state of the gear, fit for JSON."""
        return self._gear.state()

    def release(self) -> None:
        """Close the gear; the steering ends with the process."""
        self._gear.close()

    def _work(self, number: int, channel: ProcessChannel) -> None:
        kind, settings = self._kind, self._settings
        assert self._policy
        sockets = self._gear.sockets()
        kind.enter()
        self._leave([channel, *sockets])

        def make(loop: AbstractEventLoop, policy: Policy) -> Server:
            return kind.server(loop, policy, sockets, settings)

        known = self._policy, self._leases
        work(Task(make, kind.settings, *known, self._user, not self._waits), channel)


def datagram_service(loop: Loop, kind: Kind, lent: AddressLeases, leave: Leave) -> RollingRestart:
    """Return the service of *kind*; the arguments are those of `DatagramGroup`.

    Its settings need no restart: there is a process when they are wanted, and else there is none.
    """

    def make(settings: Settings, inherited: Any) -> DatagramGroup | None:
        wanted = kind.wanted(settings)
        gear = kind.adopt(inherited) if inherited else None
        if wanted is None:
            if gear:
                gear.close()
            return None
        known = settings.user, lent.use, leave
        waits = gear is not None
        return DatagramGroup(loop, kind, gear or kind.gear(settings), wanted, *known, waits=waits)

    return RollingRestart(loop, make, lambda settings: kind.wanted(settings) is not None)
