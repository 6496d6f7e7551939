"""The UDP translator of one process: shared sockets and those of flows, without task or
transport."""

from __future__ import annotations

import select
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faith.datagram.pace import Paces
from faith.datagram.raw_icmp import RawIcmp, received
from faith.datagram.udp.answers import answer_error_v4, answer_error_v6
from faith.datagram.udp.flow_handover import FlowHandover
from faith.datagram.udp.flow_reports import NO_REPORTS
from faith.datagram.udp.udp_counters import UdpCounters
from faith.datagram.udp.udp_v4_to_v6 import UdpV4ToV6, why_gone
from faith.datagram.udp.udp_v6_to_v4 import UdpV6ToV4
from faith.datagram.udp.v6_sender import V6Sender
from faith.kernel.sockets.udp_sockets import receive, receive_answer
from faith.translation.reasons import EXPIRED, MAP_GONE, PREFIX_GONE, STOPPED
from faith.translation.udp.flows import Flows

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop, TimerHandle

    from faith.datagram.udp.flow_reports import FlowReports
    from faith.translation.destination import Policy
    from faith.translation.udp.flows import Flow, UdpSettings

_EVENTS = 256
_SWEEP = 1.0

ERRORS, ERRORS_PER_CLIENT = 1000, 50
"""Errors of the gateway itself per second (RFC 4443 §2.4 f, RFC 1812 §4.3.2.8)."""


class UdpSockets(NamedTuple):
    """The sockets of UDP, of `udp_sockets` and `icmp_sockets` in `faith.kernel.sockets`.

    *v6* and *v4* receive clients' datagrams; the others are raw.
    """

    v6: _socket.socket
    v4: _socket.socket
    send_v6: _socket.socket
    send_v4: _socket.socket
    icmp_v6: _socket.socket
    icmp_v4: _socket.socket
    pieces_v6: _socket.socket


class Udp:
    """The UDP translator: relays datagrams between IPv6 and IPv4, and makes *reports* of flows."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sockets: UdpSockets,
        policy: Policy,
        settings: UdpSettings,
        counters: UdpCounters | None = None,
        reports: FlowReports = NO_REPORTS,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self.counters = counters or UdpCounters()
        self._icmp = RawIcmp(sockets.icmp_v4, sockets.icmp_v6)
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Flow] = {}
        self.flows_from_v6, self.flows_from_v4 = Flows(settings), Flows(settings)
        self._errors = Paces(ERRORS, ERRORS_PER_CLIENT, settings.client_length)
        shared = self.counters, self._errors
        self._reports = reports
        noticed = self._watch, self._forget
        self._v6 = V6Sender(sockets.send_v6, sockets.pieces_v6, settings.mtu)
        self.v6_to_v4 = UdpV6ToV4(policy, self.flows_from_v6, self._v6, *shared, *noticed, reports)
        senders = sockets.send_v4, self._v6
        self.v4_to_v6 = UdpV4ToV6(policy, self.flows_from_v4, *senders, *shared, reports)
        self._sweeper: TimerHandle | None = None
        self.handover = FlowHandover(
            self.v6_to_v4, self.v4_to_v6, self.counters, reports, self.serve
        )
        """The flows, for the server of another process to continue with."""

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

    def end(self) -> None:
        """Report the flows that are left as stopped: their process ends."""
        now = self._loop.time()
        for flow in (*self.flows_from_v6, *self.flows_from_v4):
            self._reports.ended(flow, now, STOPPED)

    def fill(self) -> tuple[int, int]:
        """Return how many flows there are, and may be, in that direction which has more."""
        return max(self.flows_from_v6.fill(), self.flows_from_v4.fill())

    @property
    def policy(self) -> Policy:
        """The policy that decides, about the next datagram of existing flows too.

        Flows by a prefix or a map that is gone end with the old policy.
        """
        return self.v6_to_v4.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        before = self.policy
        self.v6_to_v4.policy = self.v4_to_v6.policy = policy
        if before.prefixes != policy.prefixes:
            prefixes = {*policy.prefixes}
            for flow in self.flows_from_v6.end(lambda flow: flow.ends.prefix not in prefixes):
                self._reports.ended(flow, self._loop.time(), PREFIX_GONE)
                self.v6_to_v4.end(flow)
        if before.prefixes != policy.prefixes or before.maps.difference(policy.maps):
            gone = partial(why_gone, before=before, now=policy)
            for flow in self.flows_from_v4.end(lambda flow: gone(flow) is not None):
                self._reports.ended(flow, self._loop.time(), gone(flow) or MAP_GONE)
                self.v4_to_v6.end(flow)

    def configure(self, settings: UdpSettings) -> None:
        """Apply other *settings* from now on."""
        dscp = self.flows_from_v6.settings.dscp
        self.flows_from_v6.settings = self.flows_from_v4.settings = settings
        if settings.dscp != dscp:
            self.v6_to_v4.forget_fields()
            self.v4_to_v6.forget_fields()
        self._errors.limit(ERRORS, ERRORS_PER_CLIENT, settings.client_length)
        self._v6.limit(settings.mtu)

    # -- input -------------------------------------------------------------------------------

    def _read_v6(self) -> None:
        now, sock = self._loop.time(), self._sockets.v6
        for arrival in received(partial(receive, sock)):
            flow = self.v4_to_v6.whose(arrival)
            if flow:
                self.v4_to_v6.send_back(flow, arrival.payload, arrival.traffic_class)
            else:
                self._icmp.attempt(self.v6_to_v4.forward(arrival, now))

    def _read_v4(self) -> None:
        now, sock = self._loop.time(), self._sockets.v4
        for arrival in received(partial(receive, sock)):
            # The port of a flow at a mapped address: datagrams to it are steered here as well.
            flow = self.v6_to_v4.whose(arrival, now)
            if flow:
                octet = arrival.traffic_class
                self.v6_to_v4.send_back(flow, arrival.payload, arrival.sender, octet, now)
            else:
                self._icmp.attempt(self.v4_to_v6.forward(arrival, now))

    def _read_flows(self) -> None:
        now = self._loop.time()
        for descriptor, _ in self._poll.poll(0, _EVENTS):
            flow = self._by_descriptor.get(descriptor)
            if flow is None:
                continue
            for payload, source, octet in received(partial(receive_answer, flow.ends.sock)):
                self.v6_to_v4.send_back(flow, payload, source, octet, now)

    def _read_icmp_v4(self) -> None:
        for packet in self._icmp.packets_v4():
            error = self.v6_to_v4.translate_error(packet)
            if error is None and (
                error := answer_error_v4(packet, self.flows_from_v4, self.policy)
            ):
                self.counters.error("v4")
            self._icmp.attempt(error)

    def _read_icmp_v6(self) -> None:
        for packet in self._icmp.packets_v6():
            error = self.v4_to_v6.translate_error(packet)
            if error is None and (
                error := answer_error_v6(packet, self.flows_from_v6, self.policy)
            ):
                self.counters.error("v6")
            self._icmp.attempt(error)

    # -- flows -------------------------------------------------------------------------------

    def _watch(self, flow: Flow) -> None:
        descriptor = flow.ends.sock.fileno()
        self._poll.register(descriptor, select.EPOLLIN)
        self._by_descriptor[descriptor] = flow

    def _forget(self, flow: Flow) -> None:
        descriptor = flow.ends.sock.fileno()
        del self._by_descriptor[descriptor]
        self._poll.unregister(descriptor)

    def _sweep(self) -> None:
        now = self._loop.time()
        for flow in self.flows_from_v6.expire(now):
            self._reports.ended(flow, now, EXPIRED)
            self.v6_to_v4.end(flow)
        for flow in self.flows_from_v4.expire(now):
            self._reports.ended(flow, now, EXPIRED)
            self.v4_to_v6.end(flow)
        self.counters.flows(len(self.flows_from_v6) + len(self.flows_from_v4))
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
