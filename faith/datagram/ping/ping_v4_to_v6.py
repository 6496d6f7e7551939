"""Translation of pings from IPv4 clients to mapped addresses: packets in, messages to send out.

The IPv6 host is asked from the client's mapped address, so it can tell clients apart, and
identifiers rarely need to change.  Everything that `faith.datagram.ping.ping_v6_to_v4` promises
holds here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.checksum import holds
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v4
from faith.datagram.report import NO_WAY, about_v6, pass_on_v4, tell_v4
from faith.datagram.send import Send
from faith.translation.reasons import BROKEN, HOPS, NO_IDENTIFIER, NO_PREFIX
from faith.translation.v4_to_v6 import inward

if TYPE_CHECKING:
    from faith.datagram.icmp import Message
    from faith.datagram.pace import Paces
    from faith.datagram.ping.identifiers import Identifiers
    from faith.datagram.ping.ping_counters import Counters
    from faith.translation.destination import Policy


class Inward:
    """The translator of pings from IPv4 to IPv6; *policy* and *paces* decide about requests."""

    def __init__(
        self, policy: Policy, identifiers: Identifiers, paces: Paces, counters: Counters
    ) -> None:
        self.policy = policy
        self._identifiers = identifiers
        self._paces = paces
        self._counters = counters

    def asked(self, octets: bytes, now: float) -> Send | None:
        """Translate an echo request in a whole IPv4 packet; or return the error for its sender, or
        None."""
        packet = read_v4(octets)
        request = _request(packet)
        if packet is None or request is None:
            return self._refuse(BROKEN)
        client = packet.source.to_bytes(4, "big")
        if why := self._paces.refuses(client, now):
            return self._refuse(why)
        route = inward(self.policy, packet.source, packet.destination, 0, "icmp")
        if route.refused or route.source is None:
            why = route.refused or NO_PREFIX
            return self._refuse(why, tell_v4(icmp.PROHIBITED_V4, octets, packet.source))
        if packet.hops <= 1:
            return self._refuse(HOPS, tell_v4(icmp.HOPS_EXCEEDED_V4, octets, packet.source))
        host = route.server
        near = packet.source, packet.destination, request.identifier
        domain = host, packet.source
        identifier = self._identifiers.lend(near, host, request.identifier, now, domain)
        if identifier is None:  # RFC 5508 REQ-8
            return self._refuse(NO_IDENTIFIER, tell_v4(icmp.PROHIBITED_V4, octets, packet.source))
        self._counters.asked("v6")
        message = icmp.echo(icmp.ECHO_V6, identifier, request.sequence, request.body)
        return Send(True, route.source, host, message, packet.hops - 1, packet.traffic_class)

    def unsent(self, octets: bytes, error: OSError) -> Send | None:
        """Return the error for the client when sending what `asked` made of *octets* failed."""
        packet = read_v4(octets)
        if packet is None:
            return None
        no_way = error.errno in NO_WAY
        why = icmp.UNREACHABLE_HOST_V4 if no_way else icmp.PROHIBITED_V4
        return tell_v4(why, octets, packet.source)

    def heard(self, packet: Packet, now: float) -> Send | None:
        """Translate an echo reply or an error, in an ICMPv6 packet with a right
        checksum; or None."""
        message = icmp.read(packet.payload)
        if message is None:
            return None
        if message.kind == icmp.ECHO_REPLY_V6:
            return self._replied(packet, message, now)
        if message.kind in icmp.ERRORS_V6:
            return self._failed(packet, message, now)
        return None

    def _replied(self, packet: Packet, reply: Message, now: float) -> Send | None:
        found = self._whose(packet.destination, reply.identifier, packet.source, now)
        if found is None:
            return None
        client, mapped, identifier = found
        self._counters.replied("v6")
        message = icmp.echo(icmp.ECHO_REPLY_V4, identifier, reply.sequence, reply.body)
        hops = max(packet.hops - 1, 1)
        return Send(False, mapped, client, message, hops, packet.traffic_class)

    def _failed(self, packet: Packet, error: Message, now: float) -> Send | None:
        """Translate an error about a request that the gateway sent, for the client's kernel."""
        inner = about_v6(error, ICMPV6)
        request = icmp.read(inner.payload) if inner else None
        if inner is None or request is None or request.kind != icmp.ECHO_V6:
            return None
        found = self._whose(inner.source, request.identifier, inner.destination, now)
        translated = icmp.to_v4(error)
        if found is None or translated is None:
            return None
        client, mapped, identifier = found
        self._counters.failed("v6")
        about = icmp.as_asked(inner, client, mapped, icmp.ECHO_V4, identifier)
        teller = self.policy.maps.outward(packet.source, "icmp")
        return pass_on_v4(translated, about, teller, packet.hops)

    def _whose(
        self, ours: int, identifier: int, host: int, now: float
    ) -> tuple[int, int, int] | None:
        """Return the client, mapped address and identifier of a request to *host* from *ours*."""
        prefix = self.policy.prefixes.find(ours)
        if prefix is None:
            return None
        domain = host, prefix.unmap(ours)
        near = self._identifiers.whose(identifier, host, now, domain)
        return (near[0], near[1], near[2]) if near else None

    def _refuse(self, why: str, told: Send | None = None) -> Send | None:
        self._counters.refused(why)
        return told


def _request(packet: Packet | None) -> Message | None:
    """Return the valid echo request in *packet*, or None."""
    if packet is None or packet.protocol != ICMP or not packet.whole:
        return None
    message = icmp.read(packet.payload)
    if message is None or not _may_ask(packet.source) or not holds(packet.payload):
        return None
    return message if message.kind == icmp.ECHO_V4 and not message.code else None


def _may_ask(v4: int) -> bool:
    """Return whether *v4* can be a host's own address: not in 0/8 or 224/3."""
    return v4 >> 24 != 0 and v4 >> 29 != 7
