"""The sessions of a running faithd: read, chosen, sorted, shown as a table, and ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from faith.cli import control_client
from faith.daemon.observe.checked_decoding import checked
from faith.errors import ConfigError, FaithError, meant
from faith.translation.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Endpoint = tuple[str, int]


class Session(Struct, omit_defaults=True):
    """A session, or a flow of the kernel path, at a moment.

    *client*, *mapped*, *server* and *source*, which the server sees, are ``[address]:port``.
    *seconds* is its age, *sent* counts octets from the client, *received* those from the server.
    The client of a proxy has *asked* for a server, a name or an address and a port, by a *method*,
    maybe as a *user*; these are "" for others.
    """

    id: str
    client: str
    mapped: str
    server: str | None
    source: str | None
    stage: str
    seconds: float
    sent: int
    received: int
    method: str = ""
    asked: str = ""
    user: str = ""


_Count = Annotated[int, Meta(ge=0, lt=1 << 62)]
_Seconds = Annotated[float, Meta(gt=-1e9, lt=1e9)]


class _Line(Struct):
    """A session as its process writes it."""

    serial: _Count
    client: str
    mapped: str
    server: str | None
    stage: str
    seconds: _Seconds
    sent: _Count
    received: _Count
    source: str | None = None
    method: str = ""
    asked: str = ""
    user: str = ""


KEYS = Session.__struct_fields__
"""The fields of a session, in the order of the columns; numbers are sorted in descending order."""
NUMBERS = ("seconds", "sent", "received")
_OF_PROXIES = ("method", "asked", "user")
_LONGEST = 200
"""Characters of a field."""
_decode = checked(msgspec.json.Decoder(_Line).decode_lines)


def read(path: Path | None, **wanted: Any) -> list[Session]:
    """Return the sessions of the faithd at *path* that are *wanted*, the oldest first.

    They are chosen by the keywords of `Selection`.  Raises FaithError.
    """
    found: list[Session] = []
    collect(found, path, **wanted)
    return order(found, "seconds")


def collect(found: list[Session], path: Path | None, **wanted: Any) -> None:
    """Add to *found* what `read` returns, in any order.

    Raises FaithError; what was read before that has been added.
    """
    selection = Selection(**wanted)
    for message, lines in control_client.gather(path, "sessions", **wanted):
        worker = message["worker"]
        try:
            some = [_session(worker, line) for line in _decode(lines)]
        except (ValueError, RecursionError):
            raise FaithError(f"worker {worker} sends no valid list of its sessions") from None
        if wanted:  # a daemon that was not upgraded lists all of them
            some = [one for one in some if _is_in(one, selection)]
        found += some


def kill(path: Path | None, **wanted: Any) -> int:
    """End the sessions of the faithd at *path* that are *wanted*, and return how many that were.

    They are chosen as those that `read` returns, or by *session*, an id.  Raises FaithError.
    """
    answer = control_client.ask(path, "kill", **wanted)
    return int(answer.get("ended", 1))


def _session(worker: str | int, line: _Line) -> Session:
    """Return a session of what *worker* has written, which is not trusted: it goes to a terminal.

    Raises ValueError for what is none.
    """
    session = Session(
        f"{worker}-{line.serial:x}",
        line.client,
        line.mapped,
        line.server,
        line.source,
        line.stage,
        line.seconds,
        line.sent,
        line.received,
        line.method,
        line.asked,
        line.user,
    )
    of_proxy = f"{line.method}{line.asked}{line.user}"
    text = f"{line.client}{line.mapped}{line.server}{line.source}{line.stage}{of_proxy}"
    if len(text) > _LONGEST * 5 or not text.isprintable():
        raise ValueError(text)
    host_and_port(line.client)
    return session


def host_and_port(endpoint: str) -> Endpoint:
    """Return the host and the port of ``[address]:port``.  Raises ValueError."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)


def _is_in(session: Session, selection: Selection) -> bool:
    """Return whether *session* is selected; one whose addresses make no sense is not."""
    server, source = session.server, session.source
    try:
        return selection.includes(
            host_and_port(session.client),
            host_and_port(server) if server else ("", 0),
            lambda: host_and_port(source) if source else None,
        )
    except (OSError, ValueError):
        return False


def order(sessions: Iterable[Session], key: str) -> list[Session]:
    """Return *sessions* sorted by one of `KEYS`.  Raises ConfigError."""
    if key not in KEYS:
        raise ConfigError(f"{key!r} is not one of {', '.join(KEYS)}{meant(key, KEYS)}")
    if key in NUMBERS:
        return sorted(sessions, key=lambda session: getattr(session, key), reverse=True)
    return sorted(sessions, key=lambda session: getattr(session, key) or "")


def _shown(value: str | float | None) -> str:
    return "-" if value is None else str(value)


def lines(sessions: Iterable[Session]) -> Iterator[str]:
    """Return a table of *sessions*, each column as wide as its longest cell.

    Columns of proxies are left out where they are empty.
    """
    some = list(sessions)
    keys = [key for key in KEYS if key not in _OF_PROXIES or any(getattr(s, key) for s in some)]
    rows = [keys, *([_shown(getattr(session, key)) for key in keys] for session in some)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(keys, row, widths, strict=True)
        yield "  ".join(
            cell.rjust(width) if key in NUMBERS else cell.ljust(width) for key, cell, width in cells
        ).rstrip()
