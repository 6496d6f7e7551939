"""UDP, as a service of a daemon."""

from __future__ import annotations

import _socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faith.daemon.observe import log as log_output
from faith.daemon.observe.flow_records import FlowRecords
from faith.daemon.observe.own_numbers import own
from faith.daemon.observe.records import Recording, Records
from faith.datagram import icmp
from faith.datagram.udp.udp_server import Udp, UdpSockets
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets import icmp_sockets
from faith.kernel.sockets.icmp_sockets import icmp_socket, icmpv6_socket
from faith.kernel.sockets.udp_sockets import arrivals, piece_sender, sender
from faith.kernel.steering.datagram_steering import DatagramSteering
from faith.translation.networks import Networks

# msgspec looks the annotation up when it decodes.
from faith.translation.udp.flows import UdpSettings  # noqa: TC001

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.datagram.udp.udp_counters import UdpCounters
    from faith.translation.destination import Policy


class UdpResources:
    """Sockets, and the steering of datagrams to them: *v6* and *v4*."""

    def __init__(self, sockets: UdpSockets, v6: DatagramSteering, v4: DatagramSteering) -> None:
        self._sockets = sockets
        self._v6 = v6
        self._v4 = v4

    @classmethod
    def create(cls, way: str) -> UdpResources:
        """Open the sockets, and steer nothing yet; *way* is one of `DatagramSteering`.

        Raises SetupError; nothing stays behind then.
        """
        with ExitStack() as undo:

            def held(sock: _socket.socket) -> _socket.socket:
                undo.callback(sock.close)
                return sock

            sockets = UdpSockets(
                held(arrivals(_socket.AF_INET6)),
                held(arrivals(_socket.AF_INET)),
                held(sender(_socket.AF_INET6)),
                held(sender(_socket.AF_INET)),
                held(icmpv6_socket(icmp.ERRORS_V6)),
                held(icmp_socket(icmp.ERRORS_V4)),
                held(piece_sender()),
            )
            v6 = DatagramSteering.create(sockets.v6, way)
            undo.callback(v6.close)
            v4 = DatagramSteering.create(sockets.v4, way)
            undo.pop_all()
        return cls(sockets, v6, v4)

    @classmethod
    def adopt(cls, state: Any) -> UdpResources:
        """Adopt the resources whose `state` the predecessor process left."""
        held, v6, v4 = state
        sockets = UdpSockets(*map(icmp_sockets.adopt, held))
        return cls(
            sockets,
            DatagramSteering.adopt(v6, sockets.v6),
            DatagramSteering.adopt(v4, sockets.v4),
        )

    def state(self) -> Any:
        """Return the state from which the next program resumes the resources, fit for JSON."""
        sockets = [Descriptor.of(sock) for sock in self._sockets]
        return [sockets, self._v6.state(), self._v4.state()]

    def sockets(self) -> UdpSockets:
        """Return the sockets, for a process that serves."""
        return self._sockets

    def steer(self, policy: PolicyInputs) -> None:
        """Lead here what is for all prefixes and mapped networks.  Raises SetupError."""
        self._v6.replace([(prefix.address, prefix.length) for prefix in policy.prefixes])
        networks = policy.networks
        self._v4.replace(networks, Networks(32, networks).holding(policy.own))

    def close(self) -> None:
        """Let go of all; with the last copy, the guard refuses UDP again."""
        self._v6.close()
        self._v4.close()
        for sock in self._sockets:
            sock.close()


@dataclass(frozen=True)
class RecordedUdpSettings:
    """The settings of UDP, how its flows are recorded, and in which form."""

    udp: UdpSettings
    recording: Recording
    log: str


class RecordedUdp:
    """A UDP translator, and the records of its flows."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        policy: Policy,
        sockets: UdpSockets,
        wanted: RecordedUdpSettings,
        counters: UdpCounters,
    ) -> None:
        self._records = Records(loop, wanted.recording, log_output.record)
        reports = FlowRecords(self._records)
        self._udp = Udp(loop, sockets, policy, wanted.udp, counters, reports)
        own().fills["udp flows"] = self._udp.fill
        self.handover = self._udp.handover
        """The flows, for the server of another process to continue with."""

    @property
    def policy(self) -> Policy:
        """The policy that decides, about the next datagram of existing flows too."""
        return self._udp.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._udp.policy = policy

    def configure(self, wanted: RecordedUdpSettings) -> None:
        """Apply other settings from now on."""
        self._records.recording = wanted.recording
        log_output.set_form(wanted.log)
        self._udp.configure(wanted.udp)

    def serve(self) -> None:
        """Start to read; does nothing if it has started."""
        self._udp.serve()

    def close(self) -> None:
        """Stop reading; datagrams wait in the kernel's queues."""
        self._udp.close()

    def end(self) -> None:
        """Record the flows that are left as stopped: the process ends."""
        self._udp.end()
        self._records.sum_up()


class UdpProtocol:
    """UDP; its process counts in its *metric_areas*."""

    name = "UDP server"
    settings = RecordedUdpSettings

    def __init__(self, metric_areas: MetricAreas) -> None:
        self._metric_areas = metric_areas

    def enter(self) -> None:
        """In the process: write its numbers, and no others."""
        self._metric_areas.enter_udp()

    def wanted(self, settings: Settings) -> RecordedUdpSettings | None:
        """The settings of ``[udp]``, and of ``[log]``."""
        if settings.udp is None:
            return None
        return RecordedUdpSettings(settings.udp, settings.recording, settings.log)

    def resources(self, settings: Settings) -> UdpResources:
        """Return new resources.  Raises SetupError."""
        return UdpResources.create(settings.via)

    def adopt(self, state: Any) -> UdpResources:
        """Adopt the resources whose `state` the predecessor process left."""
        return UdpResources.adopt(state)

    def server(
        self,
        loop: AbstractEventLoop,
        policy: Policy,
        sockets: UdpSockets,
        wanted: RecordedUdpSettings,
    ) -> RecordedUdp:
        """Return the server that relays UDP."""
        return RecordedUdp(loop, policy, sockets, wanted, self._metric_areas.udp())
