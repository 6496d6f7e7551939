"""Datagrams, from the supervisor's side: a service of one process, and what is held for it."""

from __future__ import annotations

import logging
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.config import carried
from faith.daemon.process.messages import Serve
from faith.daemon.process.worker_pool import WorkerPool
from faith.daemon.services.datagram_process import POLICY, SETTINGS, Task, work
from faith.daemon.services.rolling_restart import ProcessGroup, RollingRestart
from faith.errors import FaithError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterable, Mapping

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel, Report
    from faith.daemon.process.reception import Handler
    from faith.daemon.services.datagram_process import Server
    from faith.daemon.services.interface import Leave
    from faith.daemon.upgrade.draining import DrainingWorkers
    from faith.kernel.descriptor import Source
    from faith.translation.destination import LeaseLookup, Policy

log = logging.getLogger("faith.supervisor")

NO_HANDLERS: Mapping[type[Report], Handler] = MappingProxyType({})


class KernelResources(Protocol):
    """The resources of such a process, held by the supervisor: sockets, and their steering."""

    def state(self) -> Any:
        """Return the state from which the next program resumes the resources, fit for JSON."""

    def sockets(self) -> Any:
        """Return the sockets, in a tuple, for a process that serves."""

    def steer(self, policy: PolicyInputs) -> None:
        """Steer datagrams to these prefixes and mapped networks here.  Raises SetupError."""

    def close(self) -> None:
        """Close all descriptors; the steering ends with the last process that holds them."""


class TranslatedProtocol(Protocol):
    """A protocol of datagrams, ICMP echo or UDP, and its service."""

    name: str
    """The name of its process in the log."""
    settings: type[Any]
    """The dataclass of its settings."""

    def enter(self) -> None:
        """In the process, before all else: write its numbers, and no others."""

    def wanted(self, settings: Settings) -> Any:
        """Its settings among those of the daemon, or None when nobody wants it."""

    def resources(self, settings: Settings) -> KernelResources:
        """Return new resources for a daemon with these *settings*.

        Raises SetupError; nothing stays behind then.
        """

    def adopt(self, state: Any) -> KernelResources:
        """Adopt the resources whose `KernelResources.state` the predecessor process left."""

    def server(self, loop: AbstractEventLoop, policy: Policy, sockets: Any, wanted: Any) -> Server:
        """Return the server for the settings *wanted*, in its process."""


class DatagramGroup(ProcessGroup):
    """The process that serves *protocol* by *settings*, and its *resources*.

    *leave* is called in that process, with what it keeps of this one's, and *leases* looks up the
    leases of the pool.  If it *waits*, it reads nothing before `serve`.  *handlers* handle what it
    sends besides what every process sends.
    """

    def __init__(
        self,
        loop: Loop,
        protocol: TranslatedProtocol,
        resources: KernelResources,
        settings: Any,
        user: str,
        leases: LeaseLookup,
        leave: Leave,
        *,
        waits: bool = False,
        handlers: Mapping[type[Report], Handler] = NO_HANDLERS,
    ) -> None:
        self._protocol = protocol
        self._resources = resources
        self._settings = settings
        self._user = user
        self._leases = leases
        self._leave = leave
        self._waits = waits
        self._policy: PolicyInputs | None = None
        carried.decoder(protocol.settings)
        super().__init__(WorkerPool(loop, self._work, handlers, protocol.name))

    def relieve(self, others: DrainingWorkers) -> None:
        """Have the process of the predecessor process hand over, and end."""
        others.hand_over(self.pool.able_in)

    def serve(self) -> None:
        """Have the process read what comes."""
        if self._waits:
            self._waits = False
            self.pool.tell(Serve())

    def steer(self, policy: PolicyInputs) -> None:
        """Steer datagrams to the process; what the kernel refuses is logged."""
        try:
            self._resources.steer(policy)
        except FaithError as error:
            log.error("the %s does not follow a change: %s", self._protocol.name, error)

    def apply_policy(self, policy: PolicyInputs) -> None:
        """Have the process apply *policy*."""
        before, self._policy = self._policy, policy
        known = before.maps if before else None
        change = None if known is None else cache(lambda: policy.dumps(known))
        self.pool.desire(POLICY, cache(policy.dumps), change)

    def apply_settings(self, settings: Settings) -> None:
        """Have the process apply its part of *settings*."""
        wanted = self._settings = self._wanted(settings)
        self.pool.desire(SETTINGS, cache(lambda: carried.dumps(wanted)))

    def state(self) -> Any:
        """Return the state of the resources, fit for JSON."""
        return self._resources.state()

    def release(self) -> None:
        """Close the resources; the steering ends with the process."""
        self._resources.close()

    def _work(self, number: int, channel: ProcessChannel) -> None:
        protocol, settings = self._protocol, self._settings
        assert self._policy
        sockets = self._resources.sockets()
        protocol.enter()
        self._leave([channel, *self._kept()])

        def make(loop: AbstractEventLoop, policy: Policy) -> Server:
            return protocol.server(loop, policy, sockets, settings)

        known = self._policy, self._leases
        self._run(Task(make, protocol.settings, *known, self._user, not self._waits), channel)

    def _wanted(self, settings: Settings) -> Any:
        """Return the settings of the process."""
        return self._protocol.wanted(settings)

    def _kept(self) -> Iterable[Source]:
        """Return what the process keeps of the descriptors of this one."""
        kept: Iterable[Source] = self._resources.sockets()
        return kept

    def _run(self, task: Task, channel: ProcessChannel) -> None:
        """In the process: serve until the supervisor says otherwise or is gone."""
        work(task, channel)


def datagram_service(
    loop: Loop, protocol: TranslatedProtocol, leases: AddressLeases, leave: Leave
) -> RollingRestart[Settings]:
    """Return the service of *protocol*; the arguments are those of `DatagramGroup`.

    Its settings need no restart: there is a process when they are wanted, and else there is none.
    """

    def make(settings: Settings, inherited: Any) -> DatagramGroup | None:
        wanted = protocol.wanted(settings)
        resources = protocol.adopt(inherited) if inherited else None
        if wanted is None:
            if resources:
                resources.close()
            return None
        known = settings.user, leases.use, leave
        waits = resources is not None
        return DatagramGroup(
            loop, protocol, resources or protocol.resources(settings), wanted, *known, waits=waits
        )

    return RollingRestart(loop, make, lambda settings: protocol.wanted(settings) is not None)
