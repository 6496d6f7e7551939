"""Access decisions for connections from IPv6 to IPv4: rules, safe defaults, source addresses.

The safe defaults are stricter than KAME's: a destination that no client has business to reach
through a gateway is refused unless a rule names it.
"""

from __future__ import annotations

from faith.translation.address import number
from faith.translation.map import TCP
from faith.translation.map_table import NO_MAPS
from faith.translation.networks import Networks
from faith.translation.reasons import DENIED, NO_RULE, NOT_GLOBAL, OWN, SOURCE_MAPPED, SPECIAL
from faith.translation.sources import NO_SOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.translation.access import Access, Rule
    from faith.translation.map_table import Maps
    from faith.translation.prefix import Prefix, Prefixes
    from faith.translation.sources import Sources

    LeaseLookup = Callable[[int], int | None]
    """Looks up the IPv6 host that a 32-bit IPv4 address is leased to, or None."""


def _networks(*text: str) -> Networks:
    words = (word.split("/") for word in text)
    return Networks(32, [(number(address), int(length)) for address, length in words])


_SPECIAL = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
)

SPECIAL_DESTINATIONS = _networks(*_SPECIAL)
"""Ranges without servers: refused unless a rule lies inside the range."""
NOT_GLOBAL_DESTINATIONS = _networks(*_SPECIAL, *_PRIVATE)
"""Ranges that 64:ff9b::/96 must not map (RFC 6052 §3.1: RFC 1918, RFC 5735 §3, RFC 6598)."""


class Verdict:
    """The decision about one connection: *refused* is the reason, None when it is permitted.

    *source4* is the 32-bit address to connect from, or None for the kernel's choice.  It is also
    set when the destination is refused as the gateway's own address, because a local server there
    may still take the connection.
    """

    __slots__ = ("refused", "source4")

    def __init__(self, refused: str | None, source4: int | None = None) -> None:
        self.refused = refused
        self.source4 = source4


def no_leases(v4: int) -> int | None:
    """Return None: the `LeaseLookup` of a gateway without an address pool."""
    return None


_NONE6 = Networks(128)


class Policy:
    """Everything that decides about a connection: one immutable value, replaced whole on any
    change.

    *own* are the IPv4 networks in the local table of the gateway's kernel.  The source address of a
    client's connection comes from its rule, else from the *maps*, else from the *sources*.
    *leased_host* returns the IPv6 host that an IPv4 address without a static map is leased to, and
    renews that lease.  *own6* are the IPv6 networks that the gateway answers for: maps and leases
    lead to none of them unless a rule names the IPv4 address.  *connected* are the networks on the
    gateway's links, of 128 bits, IPv4 as IPv4-mapped.
    """

    __slots__ = ("access", "connected", "leased_host", "maps", "own", "own6", "prefixes", "sources")

    def __init__(
        self,
        prefixes: Prefixes,
        own: Networks,
        access: Access,
        maps: Maps = NO_MAPS,
        sources: Sources = NO_SOURCES,
        leased_host: LeaseLookup = no_leases,
        own6: Networks = _NONE6,
        connected: Networks = _NONE6,
    ) -> None:
        self.prefixes = prefixes
        self.own = own
        self.access = access
        self.maps = maps
        self.sources = sources
        self.leased_host = leased_host
        self.own6 = own6
        self.connected = connected

    def admit(self, client: int, destination: int, prefix: Prefix, protocol: str = TCP) -> Verdict:
        """Decide whether *client* (128 bits) may reach *destination* (32 bits) through *prefix*.

        *protocol* is one of `faith.translation.map.PROTOCOLS`.
        """
        if self.prefixes.find(client) is not None:
            return Verdict(SOURCE_MAPPED)  # RFC 6146 §3.5: a loop, or a forged source
        if prefix.well_known and destination in NOT_GLOBAL_DESTINATIONS:
            return Verdict(NOT_GLOBAL)
        return self.admit_to_v4(client, destination, protocol)

    def admit_to_v4(self, client: int, destination: int, protocol: str = TCP) -> Verdict:
        """Decide as `admit` does about a *destination* that no prefix stands for."""
        rule = self.access.decide(client, destination)
        if rule is None:
            return Verdict(NO_RULE)
        if not rule.permit:
            return Verdict(DENIED)
        special = SPECIAL_DESTINATIONS.find(destination)
        if special is not None and not rule.names(special):
            return Verdict(SPECIAL)
        if destination in self.own and not rule.names((destination, 32)):
            return Verdict(OWN, self._source(rule, client, protocol))
        return Verdict(None, self._source(rule, client, protocol))

    def is_connected(self, client: int) -> bool:
        """Return whether *client* (128 bits, IPv4 as IPv4-mapped) is on a link of the gateway's, or
        the gateway itself."""
        return client in self.connected

    def _source(self, rule: Rule, client: int, protocol: str) -> int | None:
        if rule.source4 is not None:
            return rule.source4
        mapped = self.maps.to_v4(client, protocol)
        return self.sources.find(client) if mapped is None else mapped
