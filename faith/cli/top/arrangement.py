"""The order of the rows: grouped by client networks or servers, and sorted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faith.cli.sessions import host_and_port
from faith.cli.top.rates import Row
from faith.errors import ConfigError
from faith.translation.address import V4, V6, family_of, number, text4, text6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BY_CLIENT, BY_SERVER = "client", "server"
GROUPS = "", BY_CLIENT, BY_SERVER
"""The groups there are: none, by the /64 or IPv4 address of clients, by address of servers."""
LARGEST_FIRST = ("rate", "sent/s", "received/s", "sent", "received", "seconds", "sessions")
SORTS = (*LARGEST_FIRST, "client", "server", "asked", "source", "stage", "id")
"""The keys that rows are sorted by."""

_CLIENT_LENGTH = 64
_ATTRIBUTES = {"sent/s": "sent_rate", "received/s": "received_rate"}


@dataclass(frozen=True)
class Arrangement:
    """How rows are shown: grouped by one of `GROUPS`, sorted by one of `SORTS`, perhaps reversed.

    Raises ConfigError for others.
    """

    sort: str = "rate"
    reverse: bool = False
    group: str = ""

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise ConfigError(f"{self.sort!r} is not one of {', '.join(SORTS)}")
        if self.group not in GROUPS:
            raise ConfigError(f"{self.group!r} is not one of {', '.join(filter(None, GROUPS))}")

    @property
    def ascending(self) -> bool:
        """Return whether the smallest or first row comes first."""
        return self.reverse == (self.sort in LARGEST_FIRST)

    def arrange(self, rows: Iterable[Row]) -> list[Row]:
        """Return *rows* grouped and sorted; those that are equal by their ids."""
        shown = _grouped(rows, _KEYS[self.group]) if self.group else list(rows)
        shown.sort(key=lambda row: (row.id, row.client, row.server))
        shown.sort(key=self._sort_key, reverse=not self.ascending)
        return shown

    def _sort_key(self, row: Row) -> Any:
        value = getattr(row, _ATTRIBUTES.get(self.sort, self.sort))
        return -1.0 if value is None else value


def client_network(endpoint: str) -> str:
    """Return the /64 of an IPv6 ``[address]:port``, or the address of an IPv4 one.

    It is *endpoint* itself if that is none.
    """
    try:
        host = host_and_port(endpoint)[0]
        if family_of(host) == V4:
            return text4(number(host))
        shift = 128 - _CLIENT_LENGTH
        return text6(number(host) >> shift << shift, _CLIENT_LENGTH)
    except (OSError, ValueError):
        return endpoint


def narrower(network: str, other: str | None) -> str:
    """Return the longer prefix of *network* and the *other*, which is in it or contains it."""
    if other is None:
        return network
    lengths = [int(one.partition("/")[2] or 128) for one in (network, other)]
    return network if lengths[0] >= lengths[1] else other


def server_address(endpoint: str) -> str:
    """Return the address of ``address:port``, or *endpoint* if it is none."""
    try:
        host = host_and_port(endpoint)[0]
        return text6(number(host)) if family_of(host) == V6 else text4(number(host))
    except (OSError, ValueError):
        return endpoint


_KEYS: dict[str, Callable[[Row], str]] = {
    BY_CLIENT: lambda row: client_network(row.client),
    BY_SERVER: lambda row: server_address(row.server),
}


def _grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> list[Row]:
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(sys.intern(key(row)), []).append(row)
    by_client = key is _KEYS[BY_CLIENT]
    return [_group(name, of_it, by_client=by_client) for name, of_it in members.items()]


def _group(name: str, members: list[Row], *, by_client: bool) -> Row:
    """Return the row of a group: sums of octets and rates, and the age of the oldest."""
    if by_client:
        client, server = name, _counted({server_address(row.server) for row in members}, "servers")
    else:
        client, server = _counted({client_network(row.client) for row in members}, "clients"), name
    return Row(
        "",
        client,
        server,
        _counted({server_address(row.source) for row in members}, "sources"),
        "",
        _counted({row.stage for row in members}, "stages"),
        max(row.seconds for row in members),
        sum(row.sent for row in members),
        sum(row.received for row in members),
        _sum(row.sent_rate for row in members),
        _sum(row.received_rate for row in members),
        len(members),
    )


def _counted(found: set[str], what: str) -> str:
    """Return the only one of *found*, or how many there are."""
    return next(iter(found)) if len(found) == 1 else f"{len(found)} {what}"


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
