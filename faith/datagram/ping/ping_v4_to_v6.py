"""Translation of pings from IPv4 clients to mapped addresses.

The IPv6 host is asked from the client's mapped address, so it can tell clients apart, and
identifiers rarely need to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.ping.ping_translation import PingTranslation
from faith.translation.map import ICMP
from faith.translation.reasons import NO_PREFIX
from faith.translation.v4_to_v6 import admit_from_v4

if TYPE_CHECKING:
    from faith.datagram.packet import Packet
    from faith.datagram.ping.ping_translation import Asked, Found
    from faith.translation.prefix import Prefix


class PingV4ToV6(PingTranslation):
    """The translator of pings from IPv4 to IPv6."""

    near, far = icmp.V4, icmp.V6

    def _find(self, packet: Packet, scope: int, identifier: int) -> Found:
        client, mapped = packet.source, packet.destination
        found = admit_from_v4(self.policy, client, mapped, 0, ICMP)
        refused = found.refused or (NO_PREFIX if found.source is None else None)
        key, domain = (client, mapped, identifier), (found.server, client)
        return refused, found.source, found.server, key, domain

    def _whose(self, ours: int, identifier: int, host: int, now: float) -> Asked | None:
        prefix = self.policy.prefixes.find(ours)
        if prefix is None:
            return None
        near = self._identifiers.whose(identifier, host, now, (host, prefix.unmap(ours)))
        if near is None:
            return None
        client, mapped, theirs = near
        return mapped, client, 0, theirs, prefix

    def _reporter(self, host: int, prefix: Prefix) -> int | None:
        return self.policy.maps.to_v4(host, ICMP)
