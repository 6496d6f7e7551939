"""The table of ``faith sessions``."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from faith.cli import control_client
from faith.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Session = dict[str, Any]

KEYS = ("id", "client", "mapped", "server", "stage", "seconds", "sent", "received")
"""The fields of a session, in the order of the columns; numbers are sorted in descending order."""
_NUMBERS = ("seconds", "sent", "received")


def read(path: Path | None) -> list[Session]:
    """Return every session of the faithd at *path*, the oldest first.  Raises FaithError."""
    found = []
    for message, lines in control_client.gather(path, "sessions"):
        for line in lines.splitlines():
            session = json.loads(line)
            session["id"] = f"{message['worker']}-{session.pop('serial'):x}"
            found.append({key: session[key] for key in KEYS})
    return order(found, "seconds")


def of_client(sessions: Iterable[Session], network: str) -> list[Session]:
    """Return the sessions of clients in *network*.  Raises ConfigError."""
    try:
        wanted = ip_network(network)
    except ValueError as error:
        raise ConfigError(f"{network}: {error}") from None
    return [session for session in sessions if _is_in(session["client"], wanted)]


def order(sessions: Iterable[Session], key: str) -> list[Session]:
    """Return *sessions* sorted by one of `KEYS`.  Raises ConfigError."""
    if key not in KEYS:
        raise ConfigError(f"{key!r} is not one of {', '.join(KEYS)}")
    return sorted(sessions, key=lambda session: session[key], reverse=key in _NUMBERS)


def lines(sessions: Iterable[Session]) -> Iterator[str]:
    """Return a table of *sessions*, each column as wide as its longest cell."""
    rows = [KEYS, *(tuple(str(session[key]) for key in KEYS) for session in sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(KEYS, row, widths, strict=True)
        yield "  ".join(
            cell.rjust(width) if key in _NUMBERS else cell.ljust(width)
            for key, cell, width in cells
        ).rstrip()


def _is_in(endpoint: str, network: IPv4Network | IPv6Network) -> bool:
    """Return whether ``[address]:port``, with or without a zone, is in *network*."""
    host = endpoint.rpartition(":")[0].strip("[]").partition("%")[0]
    return ip_address(host) in network
