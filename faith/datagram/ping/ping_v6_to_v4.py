"""Translation of pings from IPv6 clients to IPv4 servers: packets in, messages to send out.

A client gets the server's answer, or the error that prevented it.  The gateway counts as one hop,
as a router would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.checksum import holds, pseudo_v6
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v4, read_v6
from faith.datagram.report import NO_WAY, about_v4, pass_on_v6, tell_v6, teller_v6
from faith.datagram.send import Send
from faith.translation.map import ICMP as PING
from faith.translation.reasons import BROKEN, HOPS, NO_IDENTIFIER, SOURCE_MAPPED

if TYPE_CHECKING:
    from faith.datagram.icmp import Error, Message
    from faith.datagram.pace import Paces
    from faith.datagram.ping.identifiers import Identifiers
    from faith.datagram.ping.ping_counters import Counters
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix


class Outward:
    """The translator of pings from IPv6 to IPv4; *policy* and *paces* decide about requests."""

    def __init__(
        self, policy: Policy, identifiers: Identifiers, paces: Paces, counters: Counters
    ) -> None:
        self.policy = policy
        self._identifiers = identifiers
        self._paces = paces
        self._counters = counters

    def asked(self, octets: bytes, scope: int, now: float) -> Send | None:
        """Translate an echo request in a whole IPv6 packet from the interface *scope*.

        Returns the message for the server, or the error for the client, or None.
        """
        packet = read_v6(octets)
        request = _request(packet)
        if packet is None or request is None:
            return self._refuse(BROKEN)
        client = (packet.source >> 64).to_bytes(8, "big")
        if why := self._paces.refuses(client, now):
            return self._refuse(why)
        prefix = self.policy.prefixes.find(packet.destination)
        if prefix is None:
            return None  # the prefix has just been removed
        server = prefix.unmap(packet.destination)
        verdict = self.policy.admit(packet.source, server, prefix, PING)
        if verdict.refused:
            # a forged source gets no answer: RFC 6146 §3.5
            forged = verdict.refused == SOURCE_MAPPED
            told = None if forged else _tell(packet, octets, scope, icmp.PROHIBITED_V6)
            return self._refuse(verdict.refused, told)
        if packet.hops <= 1:
            return self._refuse(HOPS, _tell(packet, octets, scope, icmp.HOPS_EXCEEDED_V6))
        near = packet.source, _zone(packet.source, scope), request.identifier, prefix.address
        identifier = self._identifiers.lend(near, server, request.identifier, now)
        if identifier is None:  # RFC 5508 REQ-8
            return self._refuse(NO_IDENTIFIER, _tell(packet, octets, scope, icmp.PROHIBITED_V6))
        self._counters.asked("v4")
        message = icmp.echo(icmp.ECHO_V4, identifier, request.sequence, request.body)
        return Send(False, verdict.source4, server, message, packet.hops - 1, packet.traffic_class)

    def unsent(self, octets: bytes, scope: int, error: OSError) -> Send | None:
        """Return the error for the client when sending what `asked` made of *octets* failed."""
        packet = read_v6(octets)
        if packet is None:
            return None
        no_way = error.errno in NO_WAY
        why = icmp.NO_ROUTE_V6 if no_way else icmp.PROHIBITED_V6
        return _tell(packet, octets, scope, why)

    def heard(self, octets: bytes, now: float) -> Send | None:
        """Translate an echo reply or an error in an IPv4 packet; or None."""
        packet = read_v4(octets)
        message = icmp.within(packet)
        if packet is None or message is None:
            return None
        if message.kind == icmp.ECHO_REPLY_V4:
            return self._replied(packet, message, now)
        if message.kind in icmp.ERRORS_V4:
            return self._failed(packet, message, now)
        return None

    def _replied(self, packet: Packet, reply: Message, now: float) -> Send | None:
        found = self._whose(reply.identifier, packet.source, now)
        if found is None:
            return None
        prefix, client, zone, identifier = found
        self._counters.replied("v4")
        message = icmp.echo(icmp.ECHO_REPLY_V6, identifier, reply.sequence, reply.body)
        source = prefix.map(packet.source)
        hops = max(packet.hops - 1, 1)
        return Send(True, source, client, message, hops, packet.traffic_class, zone)

    def _failed(self, packet: Packet, error: Message, now: float) -> Send | None:
        """Translate an error about a request that the gateway sent, for the client's kernel."""
        inner = about_v4(error, ICMP)
        request = icmp.read(inner.payload) if inner else None
        if inner is None or request is None or request.kind != icmp.ECHO_V4:
            return None
        found = self._whose(request.identifier, inner.destination, now)
        translated = icmp.to_v6(error, icmp.HEADERS_DIFFER_BY + inner.length)
        if found is None or translated is None:
            return None
        prefix, client, zone, identifier = found
        self._counters.failed("v4")
        mapped = prefix.map(inner.destination)
        about = icmp.as_asked(inner, client, mapped, icmp.ECHO_V6, identifier)
        teller = teller_v6(packet.source, prefix, self.policy)
        return pass_on_v6(translated, about, teller, packet.hops, zone)

    def _whose(
        self, identifier: int, server: int, now: float
    ) -> tuple[Prefix, int, int, int] | None:
        """Return prefix, client, zone and identifier of the request that *server* was
        asked with."""
        near = self._identifiers.whose(identifier, server, now)
        if near is None:
            return None
        client, zone, theirs, network = near
        prefix = self.policy.prefixes.find(network)
        return (prefix, client, zone, theirs) if prefix else None

    def _refuse(self, why: str, told: Send | None = None) -> Send | None:
        self._counters.refused(why)
        return told


def _request(packet: Packet | None) -> Message | None:
    """Return the valid echo request in *packet*, or None."""
    if packet is None or packet.protocol != ICMPV6 or not packet.whole:
        return None
    pseudo = pseudo_v6(packet.source, packet.destination, packet.length, ICMPV6)
    message = icmp.read(packet.payload)
    if message is None or not _may_ask(packet.source) or not holds(packet.payload, pseudo):
        return None
    return message if message.kind == icmp.ECHO_V6 and not message.code else None


def _may_ask(v6: int) -> bool:
    """Return whether *v6* can be a host's own address: not :: and not multicast."""
    return v6 != 0 and v6 >> 120 != 0xFF


def _zone(v6: int, scope: int) -> int:
    """Return the interface index that a link-local *v6* needs, else 0."""
    return scope if v6 >> 118 == 0xFE80 >> 6 else 0


def _tell(packet: Packet, octets: bytes, scope: int, error: Error) -> Send:
    """Return *error* about *packet*, for its sender."""
    return tell_v6(error, octets, packet.source, _zone(packet.source, scope))
