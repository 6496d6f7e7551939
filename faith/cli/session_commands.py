"""``faith sessions`` and ``faith kill``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from faith.cli import completion, session_options, sessions
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from pathlib import Path


def show_sessions(
    client: session_options.Client = None,
    server: session_options.Server = None,
    port: session_options.Port = None,
    source: session_options.Source = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help=f"By one of {', '.join(sessions.KEYS)}.",
            autocompletion=completion.words(*sessions.KEYS),
        ),
    ] = "seconds",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    at: session_options.Control = None,
) -> None:
    """Show the sessions of a running faithd."""
    wanted = session_options.wanted(client, server, port, source)
    found = sessions.order(sessions.read(at, **wanted), sort)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print("\n".join(sessions.lines(found)))


def kill_sessions(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SESSION",
            help="Ids in faith sessions.",
            autocompletion=completion.sessions,
        ),
    ] = None,
    client: session_options.Client = None,
    server: session_options.Server = None,
    port: session_options.Port = None,
    source: session_options.Source = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    at: session_options.Control = None,
) -> int:
    """End sessions, with resets to both sides: some by their ids, or all that are selected."""
    wanted = session_options.wanted(client, server, port, source)
    if bool(ids) == bool(wanted):
        raise ConfigError("say which sessions: either their ids, or --client, --server, --port ...")
    if ids:
        return _kill_each(at, ids)
    found = len(sessions.read(at, **wanted))
    if found and not yes and not _agreed(found):
        print("no session has been reset")
        return 1
    print(f"{_count(sessions.kill(at, **wanted) if found else 0)} reset")
    return 0


def _kill_each(at: Path | None, ids: list[str]) -> int:
    failed = 0
    for one in ids:
        try:
            sessions.kill(at, session=one)
            print(f"{one} has been reset")
        except FaithError as error:
            failed = 1
            print(f"faith: {one}: {error}", file=sys.stderr)
    return failed


def _agreed(found: int) -> bool:
    """Return whether the user agrees to end so many sessions.  Raises ConfigError if it is none."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{found} sessions are selected, and nobody is there to confirm: --yes")
    try:
        return typer.confirm(f"Reset {found} session{'s' * (found != 1)}?")
    except (typer.Abort, KeyboardInterrupt):
        print()
        return False


def _count(number: int) -> str:
    return "1 session has been" if number == 1 else f"{number} sessions have been"


def join(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command("sessions")(show_sessions)
    app.command("kill")(kill_sessions)
