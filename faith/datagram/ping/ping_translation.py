"""Translation of pings, the part that both directions share: packets in, messages to send out.

A client gets the host's answer, or the error that prevented it.  The gateway counts as one hop, as
a router would.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from faith.datagram import icmp
from faith.datagram.checksum import holds
from faith.datagram.report import NO_WAY, about, error_for, pass_on
from faith.datagram.send import Send
from faith.translation.reasons import BROKEN, HOPS, NO_IDENTIFIER, NO_SOURCE, SOURCE_MAPPED

if TYPE_CHECKING:
    from faith.datagram.icmp import Error, IpVersion, Message
    from faith.datagram.pace import Paces
    from faith.datagram.packet import Packet
    from faith.datagram.ping.identifiers import Domain, Identifiers, Near
    from faith.datagram.ping.ping_counters import PingCounters
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix

    Found = tuple[str | None, int | None, int, Near, Domain]
    """Why a request is refused, else None; the source and the host to ask; the mapping's key."""
    Asked = tuple[int, int, int, int, Prefix]
    """Of a request: the mapped address it was for, the client, its zone, its identifier, and the
    prefix."""


class PingTranslation(ABC):
    """The translator of pings in one direction; *policy* and *paces* decide about requests."""

    near: ClassVar[IpVersion]
    """The IP version of the clients."""
    far: ClassVar[IpVersion]
    """The IP version of the hosts they ask."""

    def __init__(
        self, policy: Policy, identifiers: Identifiers, paces: Paces, counters: PingCounters
    ) -> None:
        self.policy = policy
        self._identifiers = identifiers
        self._paces = paces
        self._counters = counters

    @abstractmethod
    def _find(self, packet: Packet, scope: int, identifier: int) -> Found | None:
        """Decide about the echo request in *packet*; None if its prefix has just been removed."""

    @abstractmethod
    def _whose(self, ours: int, identifier: int, host: int, now: float) -> Asked | None:
        """Return which request *host* was asked from *ours* with *identifier*, or None."""

    @abstractmethod
    def _reporter(self, host: int, prefix: Prefix) -> int | None:
        """Return the address by which the client knows *host*, or None for the gateway's."""

    def translate_request(self, octets: bytes, scope: int, now: float) -> Send | None:
        """Translate an echo request in a whole packet from the interface *scope*.

        Returns the message for the host, or the error for the client, or None.
        """
        near, far = self.near, self.far
        packet = near.read(octets)
        request = _request(near, packet)
        if packet is None or request is None:
            return self._refuse(BROKEN)
        if why := self._paces.refuses(near.above | packet.source, now):
            return self._refuse(why)
        found = self._find(packet, scope, request.identifier)
        if found is None:
            return None
        refused, source, host, key, domain = found
        if refused:
            if refused == SOURCE_MAPPED:  # a forged source gets no answer: RFC 6146 §3.5
                return self._refuse(refused)
            return self._refuse(refused, self._error_for(packet, octets, scope, near.prohibited))
        if packet.hops <= 1:
            return self._refuse(HOPS, self._error_for(packet, octets, scope, near.hops_exceeded))
        client = near.above | packet.source
        identifier = self._identifiers.assign(key, client, host, request.identifier, now, domain)
        if identifier is None:  # RFC 5508 REQ-8
            error = self._error_for(packet, octets, scope, near.prohibited)
            return self._refuse(NO_IDENTIFIER, error)
        self._counters.asked(far.name)
        message = icmp.echo(far.echo, identifier, request.sequence, request.body)
        return Send(far.is_v6, source, host, message, packet.hops - 1, packet.traffic_class)

    def report_unsent(
        self, octets: bytes, scope: int, error: OSError, *, lacks_source: bool = False
    ) -> Send | None:
        """Return the error for the client when sending what `translate_request` made of *octets*
        failed; *lacks_source* says that the host does not have the address to send from."""
        near = self.near
        packet = near.read(octets)
        if packet is None:
            return None
        if lacks_source:
            told = self._error_for(packet, octets, scope, icmp.NO_ADDRESS_V6)
            return self._refuse(NO_SOURCE, told)
        why = near.no_route if error.errno in NO_WAY else near.prohibited
        return self._error_for(packet, octets, scope, why)

    def translate_reply(self, packet: Packet, now: float) -> Send | None:
        """Translate the echo reply or the error in *packet*, from a host; or None."""
        message = self.far.message(packet)
        if message is None:
            return None
        if message.kind == self.far.echo_reply:
            return self._replied(packet, message, now)
        if message.kind in self.far.errors:
            return self._failed(packet, message, now)
        return None

    def _replied(self, packet: Packet, reply: Message, now: float) -> Send | None:
        near = self.near
        asked = self._whose(packet.destination, reply.identifier, packet.source, now)
        if asked is None:
            return None
        mapped, client, zone, identifier, _ = asked
        self._counters.replied(self.far.name)
        message = icmp.echo(near.echo_reply, identifier, reply.sequence, reply.body)
        hops = max(packet.hops - 1, 1)
        return Send(near.is_v6, mapped, client, message, hops, packet.traffic_class, zone)

    def _failed(self, packet: Packet, error: Message, now: float) -> Send | None:
        """Translate an error about a request that the gateway sent, for the client's kernel."""
        near, far = self.near, self.far
        inner = about(far, error, far.protocol)
        request = icmp.read(inner.payload) if inner else None
        if inner is None or request is None or request.kind != far.echo:
            return None
        asked = self._whose(inner.source, request.identifier, inner.destination, now)
        translated = far.translate(error, inner)
        if asked is None or translated is None:
            return None
        mapped, client, zone, identifier, prefix = asked
        self._counters.failed(far.name)
        quoted = icmp.as_asked(inner, client, mapped, near.echo, identifier)
        reporter = self._reporter(packet.source, prefix)
        return pass_on(near, translated, quoted, reporter, packet, zone)

    def _refuse(self, why: str, error: Send | None = None) -> Send | None:
        self._counters.refused(why)
        return error

    def _error_for(self, packet: Packet, octets: bytes, scope: int, error: Error) -> Send:
        """Return *error* about *packet*, for its sender."""
        return error_for(self.near, error, octets, packet.source, zone_of(packet.source, scope))


def _request(version: IpVersion, packet: Packet | None) -> Message | None:
    """Return the valid echo request in *packet*, or None."""
    if packet is None or packet.protocol != version.protocol or not packet.whole:
        return None
    message = icmp.read(packet.payload)
    if message is None or message.kind != version.echo or message.code:
        return None
    if not version.is_host(packet.source) or not holds(packet.payload, icmp.pseudo(packet)):
        return None
    return message


def zone_of(address: int, scope: int) -> int:
    """Return the interface index that a link-local IPv6 *address* needs, 0 for any other."""
    return scope if address >> 118 == 0xFE80 >> 6 else 0
