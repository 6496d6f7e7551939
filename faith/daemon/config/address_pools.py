"""[[source]] of faith.toml(5): the pools of IPv4 addresses that connections are made from."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from faith.daemon.config.readers import flag, parsed, several, text, whole
from faith.errors import ConfigError
from faith.translation.sources import Addresses, Source, Sources, client_network

if TYPE_CHECKING:
    from typing import Any

    from faith.daemon.config.tables import Document, Table

KEYS = ("clients", "addresses", "client_length", "one_to_one", "set_up")

_EVERYBODY: tuple[tuple[int, int], ...] = ((0, 0),)


def read(document: Document) -> Sources:
    """Return the sources that *document* describes.

    Raises ConfigError, naming file, line and key.
    """
    tables = document.tables("source")
    sources = [document.attempt(partial(_source, table), None) for table in tables]
    found = [source for source in sources if source]
    if len(found) < len(tables):
        return Sources(())
    _check_clients(found, tables)
    _check_addresses(found, tables)
    return Sources(found)


def _source(table: Table) -> Source:
    clients = table.take("clients", several(parsed(client_network)), _EVERYBODY)
    length = table.take("client_length", whole(1, 128), 128)
    one_to_one = table.take("one_to_one", flag, False)
    set_up = table.take("set_up", flag, False)
    addresses = table.need("addresses", _addresses)
    try:
        return Source(clients, addresses, length, one_to_one, set_up)
    except ConfigError as error:
        about = [key for key in ("one_to_one", "client_length", "clients") if key in table]
        raise table.fault(error.message, *about[:1]) from error


def _addresses(value: Any) -> Addresses:
    return Addresses.parse(several(text)(value))


def _check_clients(found: list[Source], tables: list[Table]) -> None:
    """Raise ConfigError for a network of clients that is in two sources, or twice in one."""
    seen: dict[tuple[int, int], Table] = {}
    for source, table in zip(found, tables, strict=True):
        for number, network in enumerate(source.clients):
            if network in seen:
                where = seen[network].line("clients") or seen[network].line()
                message = f"these clients have a source on line {where} already"
                raise table.fault(message, "clients", number)
            seen[network] = table


def _check_addresses(found: list[Source], tables: list[Table]) -> None:
    """Raise ConfigError for an address of a one-to-one source that another source has as well."""
    ranges = sorted(
        (first, last, number)
        for number, source in enumerate(found)
        for first, last in source.addresses.ranges
    )
    highest, owner = -1, 0
    for first, last, number in ranges:
        if first <= highest and (found[number].one_to_one or found[owner].one_to_one):
            before, after = sorted((owner, number))
            where = tables[before].line("addresses")
            message = (
                f"{IPv4Address(first)} is in the source on line {where} too, and cannot be"
                " one client's"
            )
            raise tables[after].fault(message, "addresses")
        if last > highest:
            highest, owner = last, number
