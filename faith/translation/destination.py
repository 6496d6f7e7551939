"""What a connection's destination means, and whether a client may reach it.

The safe defaults are stricter than KAME's: what no client has business to reach through a gateway
is refused unless a rule of the operator's names it.
"""

from __future__ import annotations

from faith.translation.map import TCP
from faith.translation.maps import NO_MAPS
from faith.translation.networks import Networks
from faith.translation.sources import NO_SOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.translation.access import Access, Rule
    from faith.translation.maps import Maps
    from faith.translation.prefix import Prefix, Prefixes
    from faith.translation.sources import Sources

    Lent = Callable[[int], int | None]
    """The IPv6 host that a 32-bit address was lent to, or None."""

# Why a connection is refused: these words stand in records and, later, in metrics.
DENIED = "denied by a rule"
NO_RULE = "no rule permits it"
SPECIAL = "special destination"
OWN = "the gateway's own address"
NOT_GLOBAL = "not global, behind the well-known prefix"
SOURCE_MAPPED = "source inside the prefix"


def _networks(*text: str) -> Networks:
    def number(word: str) -> tuple[int, int]:
        address, _, length = word.partition("/")
        octets = [int(octet) for octet in address.split(".")]
        return int.from_bytes(bytes(octets), "big"), int(length)

    return Networks(32, map(number, text))


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
"""Never a server of somebody's: refused unless a rule lies inside the range."""
NOT_GLOBAL_DESTINATIONS = _networks(*_SPECIAL, *_PRIVATE)
"""What 64:ff9b::/96 must not stand for (RFC 6052 §3.1: RFC 1918, RFC 5735 §3, RFC 6598)."""


class Verdict:
    """The answer to one connection: *refused* says why, or is None when it may go on.

    *source4* is the 32-bit address to connect from, or None for the kernel's choice.  Towards the
    gateway's own address it is told even with a refusal, for what is not the gateway's there.
    """

    __slots__ = ("refused", "source4")

    def __init__(self, refused: str | None, source4: int | None = None) -> None:
        self.refused = refused
        self.source4 = source4


def nothing_lent(v4: int) -> int | None:
    """What any address was lent to where there is no pool: None."""
    return None


_NONE6 = Networks(128)


class Policy:
    """Everything that decides about a connection, replaced as one value on any change.

    *own* are the networks the gateway answers for on IPv4, as its kernel's local table has them.
    What a client connects from is said by a rule, else by the *maps*, else by the *sources*.
    *lent* says which IPv6 host an IPv4 address stands for that no map is for, if any, and then it
    does so for a while; never one of *own6*, the IPv6 networks that the gateway answers for.
    """

    __slots__ = ("access", "lent", "maps", "own", "own6", "prefixes", "sources")

    def __init__(
        self,
        prefixes: Prefixes,
        own: Networks,
        access: Access,
        maps: Maps = NO_MAPS,
        sources: Sources = NO_SOURCES,
        lent: Lent = nothing_lent,
        own6: Networks = _NONE6,
    ) -> None:
        self.prefixes = prefixes
        self.own = own
        self.access = access
        self.maps = maps
        self.sources = sources
        self.lent = lent
        self.own6 = own6

    def admit(self, client: int, destination: int, prefix: Prefix, protocol: str = TCP) -> Verdict:
        """Judge *client* (128 bits) towards *destination* (32 bits), reached through *prefix*.

        *protocol* is as in maps.
        """
        if self.prefixes.find(client) is not None:
            return Verdict(SOURCE_MAPPED)  # RFC 6146 §3.5: a loop, or a forged source
        if prefix.well_known and destination in NOT_GLOBAL_DESTINATIONS:
            return Verdict(NOT_GLOBAL)
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

    def _source(self, rule: Rule, client: int, protocol: str) -> int | None:
        if rule.source4 is not None:
            return rule.source4
        mapped = self.maps.outward(client, protocol)
        return self.sources.find(client) if mapped is None else mapped
