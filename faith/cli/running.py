"""Commands to a running faithd: ``faith drain``, ``undrain`` and ``reload``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from faith.cli import control_client, file_watch, session_options
from faith.daemon.upgrade.trial import PATIENCE


def drain(
    forever: Annotated[
        bool, typer.Option("--forever", help="Wait for the sessions without a limit.")
    ] = False,
    lame_duck: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Accept connections that long still, with /readyz at 503; else as configured.",
        ),
    ] = None,
    at: session_options.Control = None,
) -> None:
    """Make faithd accept no more connections, and stop when its sessions have ended."""
    answer = control_client.ask(at, "drain", forever=forever, lame_duck=lame_duck)
    left, accepts = answer["sessions"], answer.get("lame_duck")
    until = f"connections are accepted for {accepts:g} s more" if accepts else None
    print(f"{until or 'no more connections are accepted'}; open sessions: {left}")


def undrain(at: session_options.Control = None) -> None:
    """Take back a drain: have faithd accept connections as before."""
    control_client.ask(at, "undrain")
    print("connections are accepted again")


def reload(
    watch: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Do so whenever FILE has changed, until a signal."),
    ] = None,
    at: session_options.Control = None,
) -> None:
    """Have faithd read its configuration again: all of it is taken, or nothing."""
    if watch:
        file_watch.follow(watch, at)
    answer = control_client.ask(at, "reload", patience=3 * PATIENCE)  # it may take an upgrade
    if behind := answer.get("behind"):
        print(f"the configuration has been read again; not applied yet by {', '.join(behind)}")
    else:
        print("the configuration has been read again, and is in force")


def join(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command("drain")(drain)
    app.command("undrain")(undrain)
    app.command("reload")(reload)
