"""The table of ``faith sessions``."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from faith.cli import control_client
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Session = dict[str, Any]

KEYS = ("id", "client", "mapped", "server", "stage", "seconds", "sent", "received")
"""The fields of a session, in the order of the columns; numbers are sorted in descending order."""
_LONGEST = 200
"""Characters of a field."""
_NUMBERS = ("seconds", "sent", "received")


def read(path: Path | None) -> list[Session]:
    """Return every session of the faithd at *path*, the oldest first.  Raises FaithError."""
    found = []
    for message, lines in control_client.gather(path, "sessions"):
        worker = message["worker"]
        try:
            found += [_session(worker, json.loads(line)) for line in lines.split("\n") if line]
        except (LookupError, TypeError, ValueError, RecursionError):
            raise FaithError(f"worker {worker} sends no valid list of its sessions") from None
    return order(found, "seconds")


def _session(worker: str | int, fields: Any) -> Session:
    """Return a session of what *worker* has written, which is not trusted: it goes to a terminal.

    Raises LookupError, TypeError or ValueError for what is none.
    """
    session: Session = {"id": f"{worker}-{fields['serial']:x}"}
    for key in KEYS[1:]:
        value = fields[key]
        if key in _NUMBERS:
            session[key] = value + 0  # or it is no number
        else:
            text = "" if value is None else str(value)
            if len(text) > _LONGEST or not text.isprintable():
                raise ValueError(key)
            session[key] = value if value is None else text
    return session


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
