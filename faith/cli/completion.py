"""Values that a shell completes for faith(8): what runs here now, and the words of options.

Whoever may not ask a daemon, or finds none, gets nothing: a shell shows no errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Values = list[tuple[str, str]]
"""Values with an explanation each, or ""."""


def sessions(incomplete: str) -> Values:
    """Complete the id of a session of the only daemon here, explained by its two ends."""
    from faith.cli import sessions as table

    return found(
        lambda: ((one.id, f"{one.client} to {one.server}") for one in table.read(None)),
        incomplete,
    )


def pids(incomplete: str) -> Values:
    """Complete the process number of a daemon, explained by its service."""
    from faith.daemon.host import discovery

    return found(lambda: ((str(one.pid), one.service) for one in discovery.running()), incomplete)


def controls(incomplete: str) -> Values:
    """Complete the control socket of a daemon, explained by its service; else any file."""
    from faith.daemon.host import discovery

    return found(
        lambda: ((one.control, one.service) for one in discovery.running() if one.control),
        incomplete,
    )


def files(_incomplete: str) -> Values:
    """Complete nothing: then the shell completes files.

    Older versions of typer, Debian 13's among them, offer what was typed, unless they have this.
    """
    return []


def words(*of: str) -> Callable[[str], Values]:
    """Return a function that completes one of some words."""
    return lambda incomplete: found(lambda: ((word, "") for word in of), incomplete)


def found(read: Callable[[], Iterable[tuple[str, str]]], incomplete: str) -> Values:
    """Return what *read* returns of values that begin with *incomplete*, each with its explanation;
    nothing where it raises FaithError or OSError."""
    try:
        return [(value, about) for value, about in read() if value.startswith(incomplete)]
    except (FaithError, OSError):
        return []
