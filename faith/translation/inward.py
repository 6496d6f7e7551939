"""What an IPv4 client's connection to a mapped address means, and whether it may have it.

In rules an IPv4 client is the IPv4-mapped address ``::ffff:a.b.c.d`` (RFC 4291 §2.5.5.2), and the
destination is the mapped address it asked for: ``::ffff:192.0.2.0/120 permit 198.51.100.102``.
"""

from __future__ import annotations

from faith.translation.destination import DENIED, NO_RULE, NOT_GLOBAL_DESTINATIONS, OWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix, Prefixes

# Why a connection is refused.
NOT_MAPPED = "not mapped"
LOOP = "mapped into a prefix"
NO_PREFIX = "no prefix for the client"

_IPV4_MAPPED = 0xFFFF << 32


class Inward:
    """The answer to one connection: *refused* says why, or is None when it may go on.

    It is made to *port* of *server* then, from *source*, which stands for the client; None where
    no prefix has an address for it.  Both addresses are of 128 bits.  What is *lent* may be
    otherwise the next time.
    """

    __slots__ = ("lent", "port", "refused", "server", "source")

    def __init__(
        self, refused: str | None, server: int = 0, port: int = 0, source: int | None = None
    ) -> None:
        self.refused = refused
        self.server = server
        self.port = port
        self.source = source
        self.lent = False


def inward(policy: Policy, client: int, mapped: int, port: int, protocol: str = "tcp") -> Inward:
    """Judge *client* towards *port* of *mapped*, both of 32 bits; the port of a ping is 0."""
    found = policy.maps.inward(mapped, protocol, port)
    if found is not None:
        return _judged(policy, client, mapped, *found)
    server = policy.lent(mapped)
    if server is None:
        return Inward(NOT_MAPPED)
    if server in policy.own6:
        return Inward(OWN)  # it has become so since; it is not for who comes from there
    judged = _judged(policy, client, mapped, server, port)
    judged.lent = True
    return judged


def _judged(policy: Policy, client: int, mapped: int, server: int, port: int) -> Inward:
    if policy.prefixes.find(server) is not None:
        return Inward(LOOP)  # it would come back to us, and go on to some IPv4 host
    rule = policy.access.decide(in_rules(client), mapped)
    if rule is None:
        return Inward(NO_RULE)
    if not rule.permit:
        return Inward(DENIED)
    prefix = standing_for(client, policy.prefixes)
    return Inward(None, server, port, prefix.map(client) if prefix else None)


def in_rules(client: int) -> int:
    """The IPv6 address by which rules and limits know the IPv4 address *client*."""
    return _IPV4_MAPPED | client


def standing_for(client: int, prefixes: Prefixes) -> Prefix | None:
    """The first of *prefixes* that may have an address for *client*.

    The well-known one has none for addresses that are not global (RFC 6052 §3.1).
    """
    return next(
        (p for p in prefixes if not (p.well_known and client in NOT_GLOBAL_DESTINATIONS)), None
    )
