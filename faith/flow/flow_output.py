"""Packets and errors that the brain sends: translated SYNs, resets, and ICMP of both versions."""

from __future__ import annotations

import errno
import logging
import time
from typing import TYPE_CHECKING

from faith.datagram.icmp import V4, V6
from faith.datagram.pace import Paces
from faith.datagram.raw_icmp import RawIcmp
from faith.datagram.report import error_for
from faith.flow.tcp_segment import (
    ACK,
    HEADER_V6,
    RST,
    header_v4,
    header_v6,
    reset_for,
    segment_of,
)
from faith.translation.address import IPV4_MAPPED, from_packed, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.datagram.icmp import Error
    from faith.datagram.send import Send
    from faith.flow.flow_counters import FlowCounters
    from faith.kernel.flow.layout import Slot
    from faith.kernel.sockets.flow_sockets import FlowSockets

log = logging.getLogger("faith.flow")

ERRORS, ERRORS_PER_CLIENT = 1000, 50
"""ICMP errors a second (RFC 4443 §2.4 f, RFC 1812 §4.3.2.8)."""
RESETS, RESETS_PER_CLIENT = 2000, 200
"""Resets a second that answer packets of no flow."""


def is_link_local(address: bytes) -> bool:
    """Return whether a packed IPv6 address is in fe80::/10."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


class FlowOutput:
    """Sends by *sockets*; a client is the first *client_length* bits of an IPv6 address.

    The *clock*, in seconds, is that of the rates.
    """

    def __init__(
        self,
        sockets: FlowSockets,
        counters: FlowCounters,
        client_length: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._raw_v4, self._raw_v6 = sockets.raw_v4, sockets.raw_v6
        self._icmp = RawIcmp(sockets.icmp_v4, sockets.icmp_v6)
        self._counters = counters
        self._clock = clock
        self._errors = Paces(ERRORS, ERRORS_PER_CLIENT, client_length)
        self._resets = Paces(RESETS, RESETS_PER_CLIENT, client_length)

    def limit(self, client_length: int) -> None:
        """Tell clients apart by so many bits from now on."""
        self._errors.limit(ERRORS, ERRORS_PER_CLIENT, client_length)
        self._resets.limit(RESETS, RESETS_PER_CLIENT, client_length)

    # -- packets -----------------------------------------------------------------------------

    def send_v4(self, packet: bytes) -> int:
        """Send an IPv4 packet to its destination; return the errno of the kernel's refusal, or
        0."""
        try:
            self._raw_v4.sendto(packet, (text(packet[16:20]), 0))
        except OSError as error:
            self._counters.lost("v4")
            return error.errno or errno.EIO
        return 0

    def send_v6(self, packet: bytes, interface: int = 0) -> int:
        """Send an IPv6 packet to its destination; return the errno of the kernel's refusal, or
        0.

        *interface* is the one of a link-local destination.
        """
        to = packet[24:40]
        scope = interface if is_link_local(to) else 0
        try:
            self._raw_v6.sendto(packet, (text(to), 0, 0, scope))
        except OSError as error:
            self._counters.lost("v6")
            return error.errno or errno.EIO
        return 0

    # -- resets ------------------------------------------------------------------------------

    def refuse(self, packet: bytes, interface: int = 0) -> None:
        """Answer the segment in an IPv6 *packet* without extension headers with a reset."""
        self.send_reset(packet[8:40], packet[HEADER_V6:], interface)

    def send_reset(self, ends: bytes, segment: bytes, interface: int = 0) -> None:
        """Answer a *segment* from one of *ends*, a client, to the other with a reset."""
        back = ends[16:] + ends[:16]
        answer = reset_for(segment, back)
        self.send_v6(header_v6(back, len(answer)) + answer, interface)

    def reset_stray(self, ends: bytes, segment: bytes, interface: int = 0) -> None:
        """Do so for a segment of no flow, at a limited rate; a reset is not answered."""
        if not segment[13] & RST and not self._resets.refuses(
            from_packed(ends[:16]), self._clock()
        ):
            self.send_reset(ends, segment, interface)

    def reset_both(self, slot: Slot) -> None:
        """End the connection of *slot* at its client and at its server.

        A receiver accepts a reset with the number that it expects next (RFC 5961 §3.2): what it has
        acknowledged, or, where that is still on its way, all that was sent to it.
        """
        client, server = slot.from_client, slot.from_server
        to_client, to_server = slot.mapped + slot.client, slot.source + slot.server
        ports = _ports(slot.server_port, slot.client_port)
        if client.acked:
            for number in {client.acked, server.next}:
                segment = segment_of(to_client, ports, number, 0, RST)
                self.send_v6(header_v6(to_client, len(segment)) + segment, slot.oif6)
        else:  # it still waits for the answer to its SYN
            segment = segment_of(to_client, ports, 0, client.next, RST | ACK)
            self.send_v6(header_v6(to_client, len(segment)) + segment, slot.oif6)
        ports = _ports(slot.source_port, slot.server_port)
        for number in {server.acked or client.next, client.next}:
            segment = segment_of(to_server, ports, number, 0, RST)
            self.send_v4(header_v4(to_server, len(segment)) + segment)

    def probe(self, slot: Slot) -> None:
        """Ask the client of *slot* whether the connection is alive (RFC 6146 §3.5.2.2)."""
        ends = slot.mapped + slot.client
        segment = segment_of(ends, _ports(slot.server_port, slot.client_port), 0, 0, ACK)
        self.send_v6(header_v6(ends, len(segment)) + segment, slot.oif6)

    # -- errors ------------------------------------------------------------------------------

    def report_v6(self, error: Error, packet: bytes, interface: int = 0) -> None:
        """Send an *error* of this gateway about an IPv6 *packet* to its sender."""
        to = packet[8:24]
        scope = interface if is_link_local(to) else 0
        self.pass_on(error_for(V6, error, packet, from_packed(to), scope))

    def report_v4(self, error: Error, packet: bytes) -> None:
        """Send an *error* of this gateway about an IPv4 *packet* to its sender."""
        self.pass_on(error_for(V4, error, packet, from_packed(packet[12:16])))

    def pass_on(self, send: Send) -> None:
        """Send an error, at a limited rate."""
        whom = send.to if send.v6 else IPV4_MAPPED | send.to
        if self._errors.refuses(whom, self._clock()):
            return
        leg = "v6" if send.v6 else "v4"
        try:
            self._icmp.send(send)
        except OSError as error:
            self._counters.lost(leg)
            log.debug("%r: %s", send, error.strerror)
        else:
            self._counters.error(leg)


def _ports(source: int, destination: int) -> bytes:
    return source.to_bytes(2, "big") + destination.to_bytes(2, "big")
