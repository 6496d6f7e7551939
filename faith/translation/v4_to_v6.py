"""Access decisions for connections from IPv4 to IPv6, by static maps and leases.

In rules an IPv4 client is the IPv4-mapped address ``::ffff:a.b.c.d`` (RFC 4291 §2.5.5.2), and the
destination is the mapped IPv4 address it connects to: ``::ffff:192.0.2.0/120 permit
198.51.100.102``.  A map or a lease that leads to the gateway's own IPv6 address is used only where
the rule that decides names that one mapped address.
"""

from __future__ import annotations

from faith.translation.address import IPV4_MAPPED
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS
from faith.translation.reasons import DENIED, LOOP, NO_RULE, NOT_MAPPED, OWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix, Prefixes


class V4ToV6Verdict:
    """The decision about one connection: *refused* is the reason, None when it is permitted.

    A permitted connection goes to *port* of *server*, from *source*, the address that stands for
    the client, or None where no prefix can map the client.  Both addresses have 128 bits.  *leased*
    says that the server comes from a lease, and may be another one next time.
    """

    __slots__ = ("leased", "port", "refused", "server", "source")

    def __init__(
        self, refused: str | None, server: int = 0, port: int = 0, source: int | None = None
    ) -> None:
        self.refused = refused
        self.server = server
        self.port = port
        self.source = source
        self.leased = False


def admit_from_v4(
    policy: Policy, client: int, mapped: int, port: int, protocol: str = "tcp"
) -> V4ToV6Verdict:
    """Decide whether *client* may reach *port* of *mapped*, both of 32 bits; a ping has port 0."""
    verdict = mapped_server(policy, in_rules(client), mapped, port, protocol)
    prefix = None if verdict.refused else standing_for(client, policy.prefixes)
    if prefix is not None:
        verdict.source = prefix.map(client)
    return verdict


def mapped_server(
    policy: Policy, client: int, mapped: int, port: int, protocol: str = "tcp"
) -> V4ToV6Verdict:
    """Decide as `admit_from_v4` does about a *client* of either family, as rules know it; the
    verdict has no source."""
    found = policy.maps.to_v6(mapped, protocol, port)
    if found is not None:
        return _judged(policy, client, mapped, *found)
    server = policy.leased_host(mapped)
    if server is None:
        return V4ToV6Verdict(NOT_MAPPED)
    judged = _judged(policy, client, mapped, server, port)
    judged.leased = True
    return judged


def _judged(policy: Policy, client: int, mapped: int, server: int, port: int) -> V4ToV6Verdict:
    if policy.prefixes.find(server) is not None:
        return V4ToV6Verdict(LOOP)  # it would come back to the gateway, and go on to some IPv4 host
    rule = policy.access.decide(client, mapped)
    if rule is None:
        return V4ToV6Verdict(NO_RULE)
    if not rule.permit:
        return V4ToV6Verdict(DENIED)
    if server in policy.own6 and not rule.names((mapped, 32)):
        return V4ToV6Verdict(OWN)  # it may have become one since the map was made
    return V4ToV6Verdict(None, server, port)


def in_rules(client: int) -> int:
    """Return the IPv6 address (128 bits) that rules and limits have for the IPv4
    address *client*."""
    return IPV4_MAPPED | client


def standing_for(client: int, prefixes: Prefixes) -> Prefix | None:
    """Return the first of *prefixes* that can map *client*, or None.

    The well-known prefix must not map addresses that are not global (RFC 6052 §3.1).
    """
    return next(
        (p for p in prefixes if not (p.well_known and client in NOT_GLOBAL_DESTINATIONS)), None
    )
