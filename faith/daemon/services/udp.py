"""UDP, as a companion of a daemon."""

from __future__ import annotations

import _socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.datagram import icmp
from faith.datagram.udp.flows import UdpSettings
from faith.datagram.udp.udp_server import Udp, UdpSockets
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets.icmp_sockets import copied, icmp_socket, icmpv6_socket, resumed
from faith.kernel.sockets.udp_sockets import arrivals, sender
from faith.kernel.steering.datagram_steering import DatagramSteering
from faith.translation.networks import Networks

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.translation.destination import Policy


class UdpGear:
    """Sockets, and programs that lead datagrams to them.

    *way* is one of `DatagramSteering`.  Raises SetupError; nothing stays behind then.
    """

    def __init__(self, way: str) -> None:
        with ExitStack() as undo:

            def held(sock: _socket.socket) -> _socket.socket:
                undo.callback(sock.close)
                return sock

            self._sockets = UdpSockets(
                held(arrivals(_socket.AF_INET6)),
                held(arrivals(_socket.AF_INET)),
                held(sender(_socket.AF_INET6)),
                held(sender(_socket.AF_INET)),
                held(icmpv6_socket(icmp.ERRORS_V6)),
                held(icmp_socket(icmp.ERRORS_V4)),
            )
            self._v6 = DatagramSteering(self._sockets.v6, way)
            undo.callback(self._v6.close)
            self._v4 = DatagramSteering(self._sockets.v4, way)
            undo.pop_all()

    @classmethod
    def resume(cls, state: Any) -> UdpGear:
        """Adopt the gear whose `state` the predecessor process left."""
        sockets, v6, v4 = state
        made = cls.__new__(cls)
        made._sockets = UdpSockets(*map(resumed, sockets))
        made._v6 = DatagramSteering.resume(made._sockets.v6, v6)
        made._v4 = DatagramSteering.resume(made._sockets.v4, v4)
        return made

    def state(self) -> Any:
        """Return the state from which the next program resumes the gear, fit for JSON."""
        sockets = [Descriptor.of(sock) for sock in self._sockets]
        return [sockets, self._v6.state(), self._v4.state()]

    def sockets(self) -> UdpSockets:
        """Copies of the sockets, for a process that serves."""
        return UdpSockets(*map(copied, self._sockets))

    def decide_by(self, parts: PolicyInputs) -> None:
        """Lead here what is for all prefixes and mapped networks.  Raises SetupError."""
        self._v6.replace([(prefix.address, prefix.length) for prefix in parts.prefixes])
        networks = parts.networks
        self._v4.replace(networks, Networks(32, networks).holding(parts.own))

    def close(self) -> None:
        """Let go of all; with the last copy, the guard refuses UDP again."""
        self._v6.close()
        self._v4.close()
        for sock in self._sockets:
            sock.close()


class UdpKind:
    """The kind of datagrams that flows are made of; it counts in its *places*."""

    name = "UDP server"
    settings = UdpSettings

    def __init__(self, places: MetricAreas) -> None:
        self._places = places

    def enter(self) -> None:
        """In the process: write its numbers, and no others."""
        self._places.enter_udp()

    def wanted(self, settings: Settings) -> UdpSettings | None:
        """The settings of ``[udp]``."""
        return settings.udp

    def gear(self, settings: Settings) -> UdpGear:
        """New gear.  Raises SetupError."""
        return UdpGear(settings.via)

    def resumed(self, state: Any) -> UdpGear:
        """Adopt the gear whose `state` the predecessor process left."""
        return UdpGear.resume(state)

    def server(
        self, loop: AbstractEventLoop, policy: Policy, sockets: UdpSockets, wanted: UdpSettings
    ) -> Udp:
        """Return the server that relays UDP."""
        return Udp(loop, sockets, policy, wanted, self._places.udp())
