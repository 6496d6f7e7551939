"""The kernel path, as a service of a daemon: set up where the host has all that it needs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from faith.daemon.config.settings import KERNEL, PINS, RELAY
from faith.daemon.observe import log as log_output
from faith.daemon.observe.own_numbers import own
from faith.daemon.observe.records import Recording, Records
from faith.daemon.observe.status_report import Finding, FlowTable, ServedPath
from faith.daemon.observe.tcp_flow_records import TcpFlowRecords
from faith.daemon.process.messages import Drain
from faith.daemon.process.preamble import confine_child
from faith.daemon.services.datagram_process import run
from faith.daemon.services.datagram_service import DatagramGroup
from faith.daemon.services.flow_process import FlowProcess
from faith.daemon.services.kernel_path_resources import KernelPathResources, end_left
from faith.daemon.services.rolling_restart import RollingRestart
from faith.errors import FaithError, SetupError
from faith.flow.brain import Brain
from faith.flow.flow_settings import FlowSettings
from faith.kernel.flow import flow_conditions
from faith.kernel.netlink.link_watch import LinkWatch
from faith.translation.ports import NO_PORTS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterable

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.process.peer import Worker
    from faith.daemon.services.datagram_process import Task
    from faith.daemon.services.interface import Leave, Refuse, Then
    from faith.daemon.services.session_queries import SessionQueries
    from faith.daemon.upgrade.draining import DrainingWorkers
    from faith.flow.flow_counters import FlowCounters
    from faith.kernel.descriptor import Source
    from faith.translation.destination import Policy

log = logging.getLogger("faith.supervisor")

LETTER = "k"
"""The names of flows in ``faith sessions`` begin with it."""


@dataclass(frozen=True)
class RecordedFlowSettings:
    """The settings of flows, how they are recorded, and in which form."""

    flows: FlowSettings
    recording: Recording
    log: str


class RecordedBrain(Brain):
    """A brain, and the records of its flows."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        policy: Policy,
        resources: KernelPathResources,
        wanted: RecordedFlowSettings,
        counters: FlowCounters,
    ) -> None:
        self._records = Records(loop, wanted.recording, log_output.record)
        reports = TcpFlowRecords(self._records)
        known = policy, resources.flow_sockets, resources.maps
        super().__init__(loop, *known, wanted.flows, counters, reports, resources.taken)
        self.outlives = resources.outlives
        own().fills |= {"flows": self.fill, "half-open flows": self.fill_half_open}

    def configure(self, wanted: Any) -> None:
        """Apply other settings from now on."""
        self._records.recording = wanted.recording
        log_output.set_form(wanted.log)
        super().configure(wanted.flows)

    def end(self) -> None:
        """Reset the flows that are left and record them as stopped: the process ends."""
        super().end()
        self._records.sum_up()


class KernelPathProtocol:
    """TCP by the kernel path; its process counts in its *metric_areas*."""

    name = "kernel path"
    settings = RecordedFlowSettings

    def __init__(self, metric_areas: MetricAreas) -> None:
        self._metric_areas = metric_areas

    def enter(self) -> None:
        """In the process: write its numbers, and no others."""
        self._metric_areas.enter_flows()

    def wanted(self, settings: Settings) -> RecordedFlowSettings:
        """The settings of ``[flows]``, and of ``[log]``; no ports where all are relayed.

        Where flows have addresses of their own, ports that sockets of this host may take are left
        to these on all others.
        """
        flows = settings.flows or FlowSettings(NO_PORTS)
        if free := flow_conditions.only_free(flows.shared_ports):
            flows = replace(flows, shared_ports=free)
        return RecordedFlowSettings(flows, settings.recording, settings.log)

    def resources(self, settings: Settings) -> KernelPathResources:
        """Return new resources.  Raises SetupError."""
        assert settings.kernel_path
        return KernelPathResources.create(settings.kernel_path)

    def adopt(self, state: Any) -> KernelPathResources:
        """Adopt the resources whose `state` the predecessor process left."""
        return KernelPathResources.adopt(state)

    def adopted(self, state: Any, settings: Settings) -> KernelPathResources:
        """Do so, with a table of the length in *settings* where theirs is of another layout."""
        return KernelPathResources.adopt(state, self.wanted(settings).flows.limit)

    def server(
        self,
        loop: AbstractEventLoop,
        policy: Policy,
        sockets: KernelPathResources,
        wanted: RecordedFlowSettings,
    ) -> RecordedBrain:
        """Return the brain that decides about new flows."""
        return RecordedBrain(loop, policy, sockets, wanted, self._metric_areas.flows())


class FlowGroup(DatagramGroup):
    """The process with the brain, and the interfaces that the program translates on.

    It never ends because of other settings: flows that are there go on.
    """

    def __init__(
        self,
        loop: Loop,
        protocol: KernelPathProtocol,
        resources: KernelPathResources,
        settings: Settings,
        *known: Any,
        **options: Any,
    ) -> None:
        wanted = protocol.wanted(settings)
        super().__init__(loop, protocol, resources, wanted, settings.user, *known, **options)
        self._flows = wanted.flows
        self._serves = True
        self._decides = False
        self._kernel_path = resources
        self._loop = loop
        self._links = LinkWatch.create()
        loop.watch(self._links, self._follow_links)

    def start(self, on_ready: Then, on_failure: Refuse | None = None) -> None:
        """Guard the flows' addresses, and fork the process."""
        self._kernel_path.configure(self._flows)
        super().start(on_ready, on_failure)

    def relieve(self, others: DrainingWorkers) -> None:
        """Have the predecessor's brain hand over; or keep flows of another layout to their end."""
        if self._kernel_path.is_beside:
            others.pool.tell(Drain())
        else:
            super().relieve(others)

    def serve(self) -> None:
        """Translate by this program's code from now on, and have the process serve."""
        try:
            self._kernel_path.update()
        except SetupError as error:
            log.error("the predecessor's code goes on translating: %s", error)
        super().serve()

    def apply_settings(self, settings: Settings) -> None:
        """Apply other settings to flows that begin from now on."""
        if settings.flows:
            self._flows = self._protocol.wanted(settings).flows
        try:
            self._kernel_path.configure(self._flows)
        except FaithError as error:
            log.error("the kernel path does not follow a change: %s", error)
        super().apply_settings(settings)

    def serve_new(self, settings: Settings, *, serves: bool) -> None:
        """Take new connections, or leave them to the relay from now on."""
        self._serves = serves
        if not serves:
            self._kernel_path.leave_all_to_the_relay()
        super().apply_settings(settings)

    def look(self) -> bool:
        """Restore what another program removed; return whether it did.  Raises SetupError."""
        return self._kernel_path.look()

    def report(self) -> FlowTable:
        """Return what the kernel path has at this moment, for operators."""
        return self._kernel_path.report()

    def findings(self) -> list[Finding]:
        """Return what keeps flows from their work now."""
        return self._kernel_path.findings()

    @property
    def has_open_flows(self) -> bool:
        """Return whether a flow has not ended yet."""
        return self._kernel_path.has_open_flows()

    def unmap(self) -> None:
        """In a process forked from this one: have no table of flows, unless it decides about
        them."""
        if not self._decides:
            self._kernel_path.maps.close()

    def release(self) -> None:
        """Undo everything in the kernel."""
        self._loop.forget(self._links)
        self._links.close()
        super().release()

    def _follow_links(self) -> None:
        self._links.drain()
        try:
            self._kernel_path.follow_links()
        except (OSError, FaithError) as error:
            log.error("the kernel path does not follow a change of the interfaces: %s", error)

    def _wanted(self, settings: Settings) -> RecordedFlowSettings:
        wanted: RecordedFlowSettings = super()._wanted(settings)
        if self._serves:
            return wanted
        return replace(wanted, flows=replace(wanted.flows, services=NO_PORTS))

    def _work(self, number: int, channel: ProcessChannel) -> None:
        self._decides = True
        super()._work(number, channel)

    def _kept(self) -> Iterable[Source]:
        return self._kernel_path.kept()

    def _run(self, task: Task, channel: ProcessChannel) -> None:
        confine_child(task.user, connects=False, uses_maps=True)
        run(FlowProcess, task, channel)


class KernelPath(RollingRestart["Settings"]):
    """The service; where the host does not have all that it needs, the relay serves its ports.

    *session_queries* asks its process about flows.  *leases* is the pool, and *leave* is called in
    the process first.
    """

    def __init__(
        self,
        loop: Loop,
        metric_areas: MetricAreas,
        leases: AddressLeases,
        leave: Leave,
        session_queries: SessionQueries,
    ) -> None:
        super().__init__(loop, self._made, self._key_of)
        self._loop_of_groups = loop
        self._metric_areas = metric_areas
        self._known = leases.use, leave
        self._queries = session_queries
        self._why_not = ""
        self._settings: Settings | None = None
        self._tries = 0
        session_queries.add(self._workers, LETTER)

    def set_up(
        self,
        settings: Settings,
        policy: PolicyInputs | None = None,
        inherited: Any = None,
        *,
        on_trial: bool = False,
    ) -> None:
        """Set the kernel path up where it is wanted.

        Raises SetupError, with the reason, where a service must have it.
        """
        super().set_up(settings, policy, inherited, on_trial=on_trial)
        if not self.group and not on_trial:
            _end_left()
        self._settings, self._key_now = settings, self._key_of(settings)

    def apply(self) -> None:
        """Apply the settings that were prepared."""
        if self._prepared:
            self._settings = self._prepared.settings
        super().apply()
        if self._settings:
            self._key_now = self._key_of(self._settings)

    def _key_of(self, settings: Settings) -> object:
        """Return the same for settings that need no other group; a failure is tried again."""
        if self.group:
            return "set up"
        self._tries += 1
        return self._tries if settings.flows else "not wanted"

    def _made(self, settings: Settings, inherited: Any) -> FlowGroup | None:
        if settings.flows is None and not inherited:
            return None
        protocol = KernelPathProtocol(self._metric_areas)
        try:
            resources = (
                protocol.adopted(inherited, settings) if inherited else protocol.resources(settings)
            )
        except SetupError as error:
            if settings.kernel_ports:
                raise
            self._why_not = str(error)
            log.warning("port %s is relayed: %s", settings.auto_ports, error)
            return None
        self._why_not = ""
        known = self._loop_of_groups, protocol, resources, settings, *self._known
        return FlowGroup(*known, waits=bool(inherited), handlers=self._queries.handlers)

    # -- what others ask ---------------------------------------------------------------------

    def paths(self) -> list[ServedPath]:
        """Return the paths of the services, with the reason where another one was asked for."""
        settings = self._settings
        if settings is None or not (settings.flows or settings.kept_by_relay()):
            return []
        found = [ServedPath(str(ports), RELAY, why) for ports, why in settings.kept_by_relay()]
        if settings.flows:
            path = KERNEL if self.group else RELAY
            found.append(ServedPath(str(settings.flows.services), path, self._why_not))
        return found

    def report(self) -> FlowTable | None:
        """Return what the kernel path has at this moment; None where there is none."""
        return self.group.report() if isinstance(self.group, FlowGroup) else None

    def findings(self) -> list[Finding]:
        """Return what keeps flows from their work now."""
        return self.group.findings() if isinstance(self.group, FlowGroup) else []

    def look(self) -> bool:
        """Restore what another program removed; return whether it did.  Raises SetupError."""
        return isinstance(self.group, FlowGroup) and self.group.look()

    def unmap(self) -> None:
        """In a process forked from this one: have no table of flows, unless it decides about
        them."""
        for group in self._groups():
            if isinstance(group, FlowGroup):
                group.unmap()

    def drain(self) -> None:
        """Leave new connections to the relay, which refuses them; flows go on."""
        self._serve_new(serves=False)

    def resume(self) -> None:
        """Take new connections again."""
        self._serve_new(serves=True)

    @property
    def has_open_flows(self) -> bool:
        """Return whether a flow has not ended yet."""
        return isinstance(self.group, FlowGroup) and self.group.has_open_flows

    def _serve_new(self, *, serves: bool) -> None:
        if self._settings and isinstance(self.group, FlowGroup):
            self.group.serve_new(self._settings, serves=serves)

    def _workers(self) -> list[Worker]:
        return self.group.pool.workers if self.group else []


def _end_left() -> None:
    try:
        if end_left(PINS):
            log.warning("the flows that a daemon has left are ended: this one has no kernel path")
    except (FaithError, OSError) as error:
        log.debug("flows that a daemon may have left: %s", error)
