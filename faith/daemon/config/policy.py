"""What decides about connections, gathered by the supervisor and carried to the workers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, summarize_address_range
from pathlib import Path
from typing import TYPE_CHECKING

from faith.daemon.config import static_map, tried_files
from faith.errors import ConfigError
from faith.kernel.netlink import routes
from faith.translation.access import Access
from faith.translation.destination import Policy, nothing_lent
from faith.translation.map_table import NO_MAPS
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.sources import NO_SOURCES, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from faith.daemon.config.settings import Settings
    from faith.translation.destination import Lent
    from faith.translation.map import Map
    from faith.translation.map_table import Maps

ACCESS_FILE = Path("/etc/faithd.conf")
"""The access rules, when no other file is named; it need not exist."""


@dataclass(frozen=True)
class Rules:
    """The text of an access file, proved to be readable as rules; *file* is its name."""

    text: str
    file: str

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Those that *settings* have or name.  Raises ConfigError."""
        if settings.access_rules is not None:
            return cls(settings.access_rules, "access.rules")
        return cls.read(settings.access_file)

    @classmethod
    def read(cls, path: Path | None) -> Rules:
        """The rules in *path*, or those of `ACCESS_FILE` if that exists (none permit everything).

        Raises ConfigError for a file that cannot be read or has a line that is no rule.
        """
        file = path or ACCESS_FILE
        try:
            rules = cls(tried_files.text(file), str(file))
        except FileNotFoundError:
            if path:
                raise ConfigError("no such file", str(file)) from None
            return cls("", str(file))
        except OSError as error:
            raise ConfigError(str(error.strerror), str(file)) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"not a text file: {error.reason}", str(file)) from error
        rules.access()
        return rules

    def access(self) -> Access:
        """The rules themselves."""
        return Access.parse(self.text, self.file)


@dataclass(frozen=True)
class Parts:
    """All that a policy is made of, as plain values.

    *own* are the ``(network, length)`` pairs the gateway answers for on IPv4, and *pool* those that
    it lends addresses of.
    """

    rules: Rules
    prefixes: tuple[Prefix, ...]
    own: tuple[tuple[int, int], ...]
    maps: Maps = NO_MAPS
    sources: Sources = NO_SOURCES
    pool: tuple[tuple[int, int], ...] = ()

    @classmethod
    def gather(
        cls,
        rules: Rules,
        maps: Maps = NO_MAPS,
        sources: Sources = NO_SOURCES,
        pool: tuple[tuple[int, int], ...] = (),
    ) -> Parts:
        """All that is given, and what the kernel has now.  Raises OSError."""
        prefixes, own = Prefixes(routes.reserved()), sorted(routes.own_ipv4())
        return cls(rules, tuple(prefixes), tuple(own), maps, sources, pool)

    def policy(self, lent: Lent = nothing_lent) -> Policy:
        """The policy they make, with what is *lent* of the pool."""
        own, access = Networks(32, self.own), self.rules.access()
        return Policy(Prefixes(self.prefixes), own, access, self.maps, self.sources, lent)

    @property
    def networks(self) -> tuple[tuple[int, int], ...]:
        """The IPv4 networks that the gateway is to have beside its own."""
        to_set_up = self.sources.to_set_up()
        if not to_set_up:
            return self.maps.networks + self.pool
        ends = ((IPv4Address(first), IPv4Address(last)) for first, last in to_set_up)
        found = [one for pair in ends for one in summarize_address_range(*pair)]
        found += [IPv4Network(one) for one in self.maps.networks + self.pool]
        return tuple((int(one.network_address), one.prefixlen) for one in collapse_addresses(found))

    def check(self, maps: Iterable[Map]) -> None:
        """Raise ConfigError for a map of what is the gateway's own, or lent."""
        several = tuple(maps)
        static_map.check(several, Prefixes(self.prefixes), Networks(32, self.own))
        static_map.check_pool(several, self.pool)

    def dumps(self, known: Maps = NO_MAPS) -> str:
        """Them as text, for :meth:`loads` in another process, where these maps are *known*.

        There can be very many, of which few change at a time.
        """
        prefixes = [(str(prefix), prefix.layout) for prefix in self.prefixes]
        maps, sources = _difference(known, self.maps), self.sources.values()
        rest = self.own, maps, sources, self.pool
        return json.dumps([self.rules.text, self.rules.file, prefixes, *rest])

    @classmethod
    def loads(cls, dumped: str, known: Maps = NO_MAPS) -> Parts:
        """What :meth:`dumps` wrote."""
        text, file, prefixes, own, maps, sources, pool = json.loads(dumped)
        return cls(
            Rules(text, file),
            tuple(Prefix.parse(prefix, layout) for prefix, layout in prefixes),
            tuple((network, length) for network, length in own),
            _changed(known, maps),
            Sources.of(sources),
            tuple((network, length) for network, length in pool),
        )


def _difference(before: Maps, after: Maps) -> tuple[list[Any], list[Any]]:
    """The maps that are gone, and those that are new, for JSON."""
    if before == after:
        return [], []
    old, now = set(before), set(after) if before else ()
    gone = [static_map.dumped(one) for one in before if one not in now]
    return gone, [static_map.dumped(one) for one in after if one not in old]


def _changed(before: Maps, difference: Sequence[list[Any]]) -> Maps:
    """What the maps *before* have become by the difference.  Raises ConfigError."""
    gone, new = difference
    if not gone and not new:
        return before
    return before.changed(map(static_map.loaded, gone), map(static_map.loaded, new))
