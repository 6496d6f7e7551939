"""Access decisions for the clients of a proxy, which name a server of either family.

The same rules and safe defaults decide as for connections that are steered to the gateway.  An IPv4
client is the IPv4-mapped address ``::ffff:a.b.c.d`` (RFC 4291 §2.5.5.2); a destination is judged as
what it is: IPv4 where it is written as an IPv4-mapped address or one under a reserved prefix.
"""

from __future__ import annotations

from faith.translation.address import IPV4_MAPPED, number, text4, text6
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS
from faith.translation.map import TCP
from faith.translation.networks import Networks
from faith.translation.reasons import (
    DENIED,
    NO_RULE,
    NOT_GLOBAL,
    NOT_MAPPED,
    OWN,
    SOURCE_MAPPED,
    SPECIAL,
)
from faith.translation.v4_to_v6 import mapped_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.destination import Policy


def _networks6(*text: str) -> Networks:
    words = (word.split("/") for word in text)
    return Networks(128, [(number(address), int(length)) for address, length in words])


SPECIAL_IPV6 = _networks6("::/8", "100::/64", "fe80::/10", "fec0::/10", "ff00::/8")
"""Ranges without servers, or that mean something else on each link: refused unless a rule lies
inside the range.

::/8 has the unspecified and the loopback address and every form with an IPv4 address inside
(RFC 4291 §2.5.5, RFC 6052 §2.1, RFC 8215), of which those under a reserved prefix are IPv4 here;
100::/64 discards (RFC 6666), fec0::/10 is deprecated (RFC 3879)."""


class ProxiedVerdict:
    """The decision about one server: *refused* is the reason, None when it is permitted.

    A permitted connection goes to *port* of *server*, an address as text, from *source*, None for
    the kernel's choice.
    """

    __slots__ = ("port", "refused", "server", "source")

    def __init__(
        self, refused: str | None, server: str = "", port: int = 0, source: str | None = None
    ) -> None:
        self.refused = refused
        self.server = server
        self.port = port
        self.source = source


def admit_proxied(
    policy: Policy, client: int, host: str, port: int, protocol: str = TCP
) -> ProxiedVerdict:
    """Decide whether *client* (128 bits, IPv4 as IPv4-mapped) may reach *port* of *host*.

    *host* is an address as text, *protocol* one of `faith.translation.map.PROTOCOLS`.  Raises
    OSError for text that is no address.
    """
    if policy.prefixes.find(client) is not None:
        return ProxiedVerdict(SOURCE_MAPPED)
    target = number(host)
    if ":" not in host:
        return _to_v4(policy, client, target, port, protocol)
    if target >> 32 == IPV4_MAPPED >> 32:
        return _to_v4(policy, client, target & 0xFFFFFFFF, port, protocol)
    prefix = policy.prefixes.find(target)
    if prefix is None:
        return _to_v6(policy, client, target, port)
    destination = prefix.unmap(target)
    if prefix.well_known and destination in NOT_GLOBAL_DESTINATIONS:
        return ProxiedVerdict(NOT_GLOBAL)
    return _to_v4(policy, client, destination, port, protocol)


def _to_v4(
    policy: Policy, client: int, destination: int, port: int, protocol: str
) -> ProxiedVerdict:
    found = mapped_server(policy, client, destination, port, protocol)
    if found.refused is None:
        return ProxiedVerdict(None, text6(found.server), found.port)
    if found.refused != NOT_MAPPED:
        return ProxiedVerdict(found.refused)
    verdict = policy.admit_to_v4(client, destination, protocol)
    if verdict.refused:
        return ProxiedVerdict(verdict.refused)
    source = None if verdict.source4 is None else text4(verdict.source4)
    return ProxiedVerdict(None, text4(destination), port, source)


def _to_v6(policy: Policy, client: int, destination: int, port: int) -> ProxiedVerdict:
    rule = policy.access.decide(client, destination, 128)
    if rule is None:
        return ProxiedVerdict(NO_RULE)
    if not rule.permit:
        return ProxiedVerdict(DENIED)
    special = SPECIAL_IPV6.find(destination)
    if special is not None and not rule.names(special):
        return ProxiedVerdict(SPECIAL)
    if destination in policy.own6 and not rule.names((destination, 128)):
        return ProxiedVerdict(OWN)
    return ProxiedVerdict(None, text6(destination), port)
