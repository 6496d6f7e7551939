"""The operator's choices of DNS64: for whom, for which names and addresses, and where to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from faith.translation.address import IPV4_MAPPED, packed6
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS, SPECIAL_DESTINATIONS
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Network = tuple[int, int]
    """An address with the host bits clear, and a length."""

WELL_KNOWN = Prefix.parse("64:ff9b::/96")
NO_NETWORKS = Networks(128)
EXCLUDED = Networks(128, [(IPV4_MAPPED, 96)])
"""AAAA records that count as absent unless the operator says otherwise (RFC 6147 §5.1.4)."""


class Rule(Enum):
    """When to synthesise AAAA records for a name."""

    NEVER = "never"
    MISSING = "missing"
    """When there are none, as RFC 6147 §5.1.1 has it."""
    ALWAYS = "always"
    """Also over real ones (RFC 6147, appendix A)."""


@dataclass(frozen=True)
class View:
    """The answers that a client gets: *prefixes* to synthesise under, none for nothing synthetic.

    *filter_a* hides A records from those who can only be misled by them; *lends*: a name without
    any gets one with a lent address.
    """

    prefixes: tuple[Prefix, ...] = ()
    filter_a: bool = False
    lends: bool = False


@dataclass(frozen=True)
class Options:
    """All that decides about synthesis, replaced as one value on any change.

    A client gets the prefixes of the smallest network in *clients* that holds its address, else
    *prefixes*; no A records if it is in *filter_a*, and lent ones if in *borrowers*.  (Clients'
    networks are of 128 bits, IPv4 ones at ::ffff:0:0/96.)  IPv4 addresses in *ranges* are mapped
    under the prefixes given there instead of the client's (RFC 6147 §5).  AAAA records in *exclude*
    count as absent (§5.1.4), and A records in *exclude_v4* too.  *names* are domains on the wire,
    in lower case; the longest that a name ends in has its rule.
    """

    prefixes: tuple[Prefix, ...]
    clients: Mapping[Network, tuple[Prefix, ...]] = field(default_factory=dict)
    filter_a: Networks = NO_NETWORKS
    borrowers: Networks = NO_NETWORKS
    ranges: Mapping[Network, tuple[Prefix, ...]] = field(default_factory=dict)
    exclude: Networks = EXCLUDED
    exclude_v4: Networks = SPECIAL_DESTINATIONS
    names: Mapping[bytes, Rule] = field(default_factory=dict)

    def view(self, client: int) -> View:
        """Return the view of the client at *client* (128 bits)."""
        network = self._client_networks.find(client)
        prefixes = self.clients[network] if network else self.prefixes
        return View(prefixes, client in self.filter_a, client in self.borrowers)

    def rule(self, name: bytes) -> Rule:
        """The rule for *name*, on the wire in lower case."""
        return next(self._rules(name), Rule.MISSING)

    def has_rule(self, name: bytes, top: bytes) -> bool:
        """Return whether there is a rule for *name* that is about *top*, or a domain in it."""
        return next(self._rules(name, len(name) - len(top) + 1), None) is not None

    def _rules(self, name: bytes, end: int | None = None) -> Iterator[Rule]:
        """The rules for *name* and the domains above it that begin before *end*, longest first."""
        at = 0
        while self.names and at < (len(name) if end is None else end):
            if rule := self.names.get(name[at:]):
                yield rule
            at += name[at] + 1

    def addresses(self, v4: int, view: View) -> tuple[bytes, ...]:
        """The mapped addresses of *v4* for the clients of *view*, in 16 octets each."""
        if v4 in self.exclude_v4:
            return ()
        network = self._range_networks.find(v4)
        return tuple(
            packed6(prefix.map(v4))
            for prefix in (self.ranges[network] if network else view.prefixes)
            if not (prefix.well_known and v4 in NOT_GLOBAL_DESTINATIONS)  # RFC 6052 §3.1
        )

    @cached_property
    def all_prefixes(self) -> Prefixes:
        """Every prefix in use, here or maybe elsewhere at the site (RFC 6147 §5.3.1)."""
        groups = (self.prefixes, *self.clients.values(), *self.ranges.values(), (WELL_KNOWN,))
        return Prefixes(prefix for group in groups for prefix in group)

    @cached_property
    def _client_networks(self) -> Networks:
        return Networks(128, self.clients)

    @cached_property
    def _range_networks(self) -> Networks:
        return Networks(32, self.ranges)
