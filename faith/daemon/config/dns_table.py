"""[dns] of faith.toml(5)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from faith.daemon.config import static_map
from faith.daemon.config.readers import choice, flag, path, several, text, whole
from faith.errors import ConfigError
from faith.translation.prefix import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

    from faith.daemon.config.tables import Reader, Table
    from faith.dns.dns_arguments import DnsArguments
    from faith.dns.service import Settings
    from faith.translation.map_table import Maps

MOST_WORKERS = 1024
_LISTS = (
    *("prefix", "listen", "forward", "allow", "client", "map", "filter_a", "exclude"),
    *("exclude_v4", "never", "always", "missing", "pool", "pool_client"),
)
_SINGLE = ("layout", "serve_stale", "mixed_case", "authorities", "workers", "pool_file")
KEYS = (*_LISTS, *_SINGLE)


def read(table: Table, maps: Maps, client_length: int) -> Settings:
    """Return the settings of the table, whose pool must be apart from the *maps*.

    A client is an IPv6 network of *client_length* bits.  Raises ConfigError, naming file, line and
    key.
    """
    from faith.dns.dns_arguments import DnsArguments  # takes a while, and most do without

    arguments = DnsArguments(
        layout=table.take("layout", choice(LAYOUTS), None),
        serve_stale=table.take("serve_stale", whole(0, 10**7), 0),
        mixed_case=table.take("mixed_case", flag, False),
        authorities=table.take("authorities", _authorities, None),
    )
    for key in ("pool_client", "pool_file"):
        if key in table and "pool" not in table:
            table.note("needs a pool", key)
    for key in _LISTS:
        arguments = table.take(key, _with(arguments, key), arguments)
    arguments = replace(arguments, pool_file=table.take("pool_file", path, None))
    try:
        settings = arguments.settings()
    except ConfigError as error:  # each network is good: there are too many addresses in all
        raise table.fault(error.message, "pool") from error
    if settings.pool and table.take("workers", whole(1, MOST_WORKERS), 1) > 1:
        raise table.fault("must be 1 with a pool: its leases have one owner", "workers")
    try:
        static_map.check_pool(maps, settings.pool)
    except ConfigError as error:
        raise table.fault(error.message, "pool") from None
    return replace(settings, client_length=client_length)


def _authorities(value: Any) -> Path:
    from faith.dns.dns_arguments import DnsArguments

    DnsArguments(authorities=(file := path(value))).settings()
    return file


def _with(arguments: DnsArguments, key: str) -> Reader[DnsArguments]:
    """Return a reader that adds the list of *key* to *arguments*, each element checked alone."""

    def with_(texts: tuple[str, ...]) -> DnsArguments:
        change: dict[str, Any] = {key: texts}
        return replace(arguments, **change)

    def check(value: Any) -> str:
        with_((written := text(value),)).settings()
        return written

    return lambda value: with_(several(check)(value))
