"""Ping, as a service of a daemon."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.daemon.observe.own_numbers import own
from faith.datagram import icmp
from faith.datagram.ping.ping_server import Ping, PingSettings, PingSockets
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets import icmp_sockets
from faith.kernel.sockets.icmp_sockets import icmp_socket, icmpv6_socket
from faith.kernel.sockets.udp_sockets import piece_sender
from faith.kernel.steering.echo_capture import EchoCapture

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.translation.destination import Policy


class PingResources:
    """Raw sockets, and the *capture* of requests, which takes them away from the kernel."""

    def __init__(self, capture: EchoCapture, *sockets: _socket.socket) -> None:
        self.capture = capture
        self._sockets = sockets

    @classmethod
    def create(cls) -> PingResources:
        """Open the sockets, and capture nothing yet.

        Raises SetupError; nothing stays behind then.
        """
        with ExitStack() as undo:
            capture = EchoCapture.create()
            undo.callback(capture.close)
            v4 = icmp_socket((icmp.ECHO_REPLY_V4, *icmp.ERRORS_V4))
            undo.callback(v4.close)
            v6 = icmpv6_socket((icmp.ECHO_REPLY_V6, *icmp.ERRORS_V6))
            undo.callback(v6.close)
            pieces_v6 = piece_sender()
            undo.pop_all()
        return cls(capture, v4, v6, pieces_v6)

    @classmethod
    def adopt(cls, state: Any) -> PingResources:
        """Adopt the resources whose `state` the predecessor process left."""
        capture, *sockets = state
        return cls(EchoCapture.adopt(capture), *map(icmp_sockets.adopt, sockets))

    def state(self) -> Any:
        """Return the state from which the next program resumes the resources, fit for JSON."""
        return [self.capture.state(), *map(Descriptor.of, self._sockets)]

    def sockets(self) -> PingSockets:
        """Return the sockets, for a process that serves."""
        return PingSockets(self.capture.packets, *self._sockets)

    def steer(self, policy: PolicyInputs) -> None:
        """Take the requests to all prefixes and mapped networks.  Raises SetupError."""
        self.capture.set_prefixes(policy.prefixes)
        self.capture.set_networks(policy.networks)

    def close(self) -> None:
        """Let go of all; the guard refuses pings again with the last copy."""
        self.capture.close()
        for sock in self._sockets:
            sock.close()


class PingProtocol:
    """ICMP echo; its process counts in its *metric_areas*."""

    name = "ping server"
    settings = PingSettings

    def __init__(self, metric_areas: MetricAreas) -> None:
        self._metric_areas = metric_areas

    def enter(self) -> None:
        """In the process: write its numbers, and no others."""
        self._metric_areas.enter_ping()

    def wanted(self, settings: Settings) -> PingSettings | None:
        """The settings of ``[ping]``."""
        return settings.ping

    def resources(self, settings: Settings) -> PingResources:
        """Return new resources.  Raises SetupError."""
        return PingResources.create()

    def adopt(self, state: Any) -> PingResources:
        """Adopt the resources whose `state` the predecessor process left."""
        return PingResources.adopt(state)

    def server(
        self, loop: AbstractEventLoop, policy: Policy, sockets: PingSockets, wanted: PingSettings
    ) -> Ping:
        """Return the server that answers pings."""
        ping = Ping(loop, sockets, policy, wanted, self._metric_areas.ping())
        own().fills["ping identifiers"] = ping.identifiers.fill
        return ping
