"""The inputs of the policy: gathered by the supervisor, and sent to the workers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, summarize_address_range
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from faith.daemon.config import carried, static_map, tried_files
from faith.daemon.config.carried import MapFields
from faith.errors import ConfigError
from faith.kernel.netlink import interfaces, routes
from faith.translation.access import Access
from faith.translation.address import text4
from faith.translation.destination import Policy, no_leases
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.networks import Networks, joined
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.sources import NO_SOURCES, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.daemon.config.settings import Settings
    from faith.translation.destination import LeaseLookup
    from faith.translation.map import Map

ACCESS_FILE = Path("/etc/faithd.conf")
"""The access rules when no other file is named; it need not exist."""


@dataclass(frozen=True)
class Rules:
    """The text of an access file, which has been parsed without errors; *file* is its name."""

    text: str
    file: str

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Return the rules that *settings* contain or name.  Raises ConfigError."""
        if settings.access_rules is not None:
            return cls(settings.access_rules, "access.rules")
        return cls.read(settings.access_file)

    @classmethod
    def read(cls, path: Path | None) -> Rules:
        """Read the rules in *path*, or in `ACCESS_FILE` if that exists (no rules permit
        everything).

        Raises ConfigError for a file that cannot be read and for a line that is no rule.
        """
        file = path or ACCESS_FILE
        name = os.fsencode(file).decode(errors="backslashreplace")  # it is sent to the workers
        text = tried_files.text(file)
        if text is None and path:
            raise ConfigError("no such file; create it, or name none", name)
        rules = cls(text or "", name)
        rules.access()
        return rules

    def access(self) -> Access:
        """Return the parsed rules."""
        return _parsed(self.text, self.file)


@lru_cache(2)  # those in force, and those on trial: a change of the maps leaves them as they are
def _parsed(text: str, file: str) -> Access:
    return Access.parse(text, file)


@dataclass(frozen=True)
class PolicyInputs:
    """The inputs of a `Policy`, as plain values.

    *own* are the ``(network, length)`` pairs the gateway answers for on IPv4, *own6* those on IPv6,
    *pool* those of the address pool of ``[dns]``, and *connected* those on the gateway's links: see
    `interfaces.connected`.
    """

    rules: Rules
    prefixes: tuple[Prefix, ...]
    own: tuple[tuple[int, int], ...]
    maps: Maps = NO_MAPS
    sources: Sources = NO_SOURCES
    pool: tuple[tuple[int, int], ...] = ()
    own6: tuple[tuple[int, int], ...] = ()
    connected: tuple[tuple[int, int], ...] = ()

    @classmethod
    def gather(
        cls,
        rules: Rules,
        maps: Maps = NO_MAPS,
        sources: Sources = NO_SOURCES,
        pool: tuple[tuple[int, int], ...] = (),
    ) -> PolicyInputs:
        """Return the arguments with the prefixes and networks that the kernel has now.  Raises
        OSError."""
        prefixes, own = Prefixes(routes.reserved()), sorted(routes.own_ipv4())
        own6 = tuple(sorted(routes.own_ipv6()))
        connected = tuple(interfaces.connected())
        return cls(rules, tuple(prefixes), tuple(own), maps, sources, pool, own6, connected)

    def policy(self, leases: LeaseLookup = no_leases) -> Policy:
        """Return the policy; *leases* looks up the leases of the pool."""
        own, access = Networks(32, self.own), self.rules.access()
        own6 = Networks(128, self.own6)
        sources, connected = self.sources.on(own), Networks(128, self.connected)
        prefixes = Prefixes(self.prefixes)
        return Policy(prefixes, own, access, self.maps, sources, leases, own6, connected)

    @property
    def absent(self) -> list[str]:
        """The addresses of the sources that the gateway does not have, the first of each range."""
        absent = self.sources.absent(Networks(32, self.own))
        return [text4(address) for address in absent]

    @cached_property
    def networks(self) -> tuple[tuple[int, int], ...]:
        """The IPv4 networks that the gateway has to answer for besides its own."""
        to_set_up = self.sources.to_set_up()
        if not to_set_up:
            return self.maps.networks + self.pool
        ends = ((IPv4Address(first), IPv4Address(last)) for first, last in to_set_up)
        found = [one for pair in ends for one in summarize_address_range(*pair)]
        ours = [(int(one.network_address), one.prefixlen) for one in found]
        return tuple(joined([*ours, *self.maps.networks, *self.pool]))

    def is_standby(self, vrrp: int | None) -> bool:
        """Return whether the address *vrrp*, which two gateways share, is elsewhere."""
        return vrrp is not None and vrrp not in Networks(32, self.own)

    def in_force(self, vrrp: int | None) -> PolicyInputs:
        """Return what this gateway goes by: without maps and added sources as a standby."""
        if not self.is_standby(vrrp):
            return self
        return replace(self, maps=NO_MAPS, sources=self.sources.without_set_up())

    def check(self, maps: Iterable[Map]) -> None:
        """Raise ConfigError for a map of an address that is the gateway's own, or in the pool."""
        several = tuple(maps)
        static_map.check(several, Prefixes(self.prefixes), Networks(32, self.own))
        static_map.check_pool(several, self.pool)

    def dumps(self, known: Maps = NO_MAPS) -> str:
        """Return the inputs as text, for :meth:`loads` in a process that has the maps *known*
        already.

        There can be very many maps, of which few change at a time: only the difference is in the
        text.
        """
        gone, new = _difference(known, self.maps)
        return carried.dumps(_Sent(replace(self, maps=NO_MAPS), gone, new))

    @classmethod
    def loads(cls, text: str, known: Maps = NO_MAPS) -> PolicyInputs:
        """Parse the text of :meth:`dumps`.  Raises ValueError and ConfigError."""
        sent = carried.loads(text, _Sent)
        if sent.gone or sent.new:
            known = known.changed((one.map() for one in sent.gone), (one.map() for one in sent.new))
        return replace(sent.inputs, maps=known)


class _Sent(Struct):
    """The *inputs* without their maps, and the difference of those to the maps that are known."""

    inputs: PolicyInputs
    gone: list[MapFields]
    new: list[MapFields]


carried.decoder(_Sent)  # before a process is forked, which would take its time


def _difference(before: Maps, after: Maps) -> tuple[list[MapFields], list[MapFields]]:
    """Return the maps removed and the maps added."""
    gone, new = before.difference(after), after.difference(before)
    return [*map(MapFields.of, gone)], [*map(MapFields.of, new)]
