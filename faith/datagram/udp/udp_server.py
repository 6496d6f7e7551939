"""The UDP translator of one process: shared sockets and those of flows, without task or
transport."""

from __future__ import annotations

import select
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faith.datagram.pace import Paces
from faith.datagram.raw_icmp import RawIcmp, received
from faith.datagram.udp.answers import failed_v4, failed_v6
from faith.datagram.udp.flow_handover import Handover
from faith.datagram.udp.flows import Flows
from faith.datagram.udp.udp_counters import Counters
from faith.datagram.udp.udp_v4_to_v6 import Inward
from faith.datagram.udp.udp_v6_to_v4 import Outward
from faith.kernel.sockets.udp_sockets import limit_mtu, receive

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop, TimerHandle

    from faith.datagram.udp.flows import Flow, Settings
    from faith.translation.destination import Policy

_LARGEST = 1 << 16
_EVENTS = 256
_SWEEP = 1.0

ERRORS, ERRORS_PER_CLIENT = 1000, 50
"""Errors of the gateway itself per second (RFC 4443 §2.4 f, RFC 1812 §4.3.2.8)."""


class Sockets(NamedTuple):
    """The sockets of UDP, of `udp_sockets` and `icmp_sockets` in `faith.kernel.sockets`.

    *v6* and *v4* receive clients' datagrams; the others are raw.
    """

    v6: _socket.socket
    v4: _socket.socket
    send_v6: _socket.socket
    send_v4: _socket.socket
    icmp_v6: _socket.socket
    icmp_v4: _socket.socket


class Udp:
    """The UDP translator: relays datagrams between IPv6 and IPv4."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sockets: Sockets,
        policy: Policy,
        settings: Settings,
        counters: Counters | None = None,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self.counters = counters or Counters()
        self._icmp = RawIcmp(sockets.icmp_v4, sockets.icmp_v6)
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Flow] = {}
        self.outward_flows, self.inward_flows = Flows(settings), Flows(settings)
        shared = self.counters, Paces(ERRORS, ERRORS_PER_CLIENT)
        noticed = self._watch, self._forget
        self.outward = Outward(policy, self.outward_flows, sockets.send_v6, *shared, *noticed)
        raw = sockets.send_v4, sockets.send_v6
        self.inward = Inward(policy, self.inward_flows, *raw, *shared)
        self._sweeper: TimerHandle | None = None
        self.handover = Handover(self)
        """The flows, for the server of another process to continue with."""
        limit_mtu(sockets.send_v6, settings.mtu)

    def serve(self) -> None:
        """Start to read; does nothing if it has started."""
        if self._sweeper:
            return
        sockets, add = self._sockets, self._loop.add_reader
        add(sockets.v6.fileno(), self._read_v6)
        add(sockets.v4.fileno(), self._read_v4)
        add(sockets.icmp_v6.fileno(), self._read_icmp_v6)
        add(sockets.icmp_v4.fileno(), self._read_icmp_v4)
        add(self._poll.fileno(), self._read_flows)
        self._sweep()

    def close(self) -> None:
        """Stop reading; datagrams wait in the kernel's queues."""
        if self._sweeper:
            self._sweeper.cancel()
            self._sweeper = None
        sockets = self._sockets
        for readable in (sockets.v6, sockets.v4, sockets.icmp_v6, sockets.icmp_v4, self._poll):
            self._loop.remove_reader(readable.fileno())

    @property
    def policy(self) -> Policy:
        """The policy that decides, about the next datagram of existing flows too."""
        return self.outward.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.outward.policy = self.inward.policy = policy

    def configure(self, settings: Settings) -> None:
        """Apply other *settings* from now on."""
        self.outward_flows.settings = self.inward_flows.settings = settings
        limit_mtu(self._sockets.send_v6, settings.mtu)

    # -- input -------------------------------------------------------------------------------

    def _read_v6(self) -> None:
        now, sock = self._loop.time(), self._sockets.v6
        for arrival in received(partial(receive, sock)):
            flow = self.inward.whose(arrival)
            if flow:
                self.inward.heard(flow, arrival.payload)
            else:
                self._icmp.attempt(self.outward.arrived(arrival, now))

    def _read_v4(self) -> None:
        now, sock = self._loop.time(), self._sockets.v4
        for arrival in received(partial(receive, sock)):
            # The port of a flow at a mapped address: datagrams to it are steered here as well.
            flow = self.outward.whose(arrival, now)
            if flow:
                self.outward.heard(flow, arrival.payload, arrival.sender, now)
            else:
                self._icmp.attempt(self.inward.arrived(arrival, now))

    def _read_flows(self) -> None:
        now = self._loop.time()
        for descriptor, _ in self._poll.poll(0, _EVENTS):
            flow = self._by_descriptor.get(descriptor)
            if flow is None:
                continue
            for payload, source in received(partial(flow.held.sock.recvfrom, _LARGEST)):
                self.outward.heard(flow, payload, source, now)

    def _read_icmp_v4(self) -> None:
        for octets in self._icmp.packets_v4():
            told = self.outward.failed(octets)
            if told is None and (told := failed_v4(octets, self.inward_flows, self.policy)):
                self.counters.told("v4")
            self._icmp.attempt(told)

    def _read_icmp_v6(self) -> None:
        for packet in self._icmp.packets_v6():
            told = self.inward.failed(packet)
            if told is None and (told := failed_v6(packet, self.outward_flows, self.policy)):
                self.counters.told("v6")
            self._icmp.attempt(told)

    # -- flows -------------------------------------------------------------------------------

    def _watch(self, flow: Flow) -> None:
        descriptor = flow.held.sock.fileno()
        self._poll.register(descriptor, select.EPOLLIN)
        self._by_descriptor[descriptor] = flow

    def _forget(self, flow: Flow) -> None:
        descriptor = flow.held.sock.fileno()
        del self._by_descriptor[descriptor]
        self._poll.unregister(descriptor)

    def _sweep(self) -> None:
        now = self._loop.time()
        for flow in self.outward_flows.expire(now):
            self.outward.end(flow)
        for flow in self.inward_flows.expire(now):
            self.inward.end(flow)
        self.counters.flows(len(self.outward_flows) + len(self.inward_flows))
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
