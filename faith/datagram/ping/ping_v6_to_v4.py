"""Translation of pings from IPv6 clients to IPv4 servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.ping.ping_translation import PingTranslation, zone_of
from faith.datagram.report import reporter_v6
from faith.translation.map import ICMP

if TYPE_CHECKING:
    from faith.datagram.packet import Packet
    from faith.datagram.ping.ping_translation import Asked, Found
    from faith.translation.prefix import Prefix


class PingV6ToV4(PingTranslation):
    """The translator of pings from IPv6 to IPv4."""

    near, far = icmp.V6, icmp.V4

    def _find(self, packet: Packet, scope: int, identifier: int) -> Found | None:
        prefix = self.policy.prefixes.find(packet.destination)
        if prefix is None:
            return None
        server = prefix.unmap(packet.destination)
        verdict = self.policy.admit(packet.source, server, prefix, ICMP)
        key = packet.source, zone_of(packet.source, scope), identifier, prefix.address
        return verdict.refused, verdict.source4, server, key, ()

    def _whose(self, ours: int, identifier: int, host: int, now: float) -> Asked | None:
        near = self._identifiers.whose(identifier, host, now)
        if near is None:
            return None
        client, zone, theirs, network = near
        prefix = self.policy.prefixes.find(network)
        return (prefix.map(host), client, zone, theirs, prefix) if prefix else None

    def _reporter(self, host: int, prefix: Prefix) -> int | None:
        return reporter_v6(host, prefix, self.policy)
