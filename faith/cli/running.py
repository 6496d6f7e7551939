"""Commands to a running faithd: ``faith sessions``, ``kill``, ``drain``, ``reload``, and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from faith.cli import completion, control_client, file_watch, sessions
from faith.daemon.upgrade.trial import PATIENCE

_Control = Annotated[
    Path | None,
    typer.Option(
        "--control",
        metavar="FILE",
        help="The faithd's control socket, if several run here.",
        autocompletion=completion.controls,
    ),
]


def show_sessions(
    client: Annotated[
        str | None, typer.Option(metavar="NETWORK", help="Only sessions of these clients.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help=f"By one of {', '.join(sessions.KEYS)}.",
            autocompletion=completion.words(*sessions.KEYS),
        ),
    ] = "seconds",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    at: _Control = None,
) -> None:
    """Show the sessions of a running faithd."""
    found = sessions.read(at)
    if client:
        found = sessions.of_client(found, client)
    found = sessions.order(found, sort)
    print(json.dumps(found, indent=2) if as_json else "\n".join(sessions.lines(found)))


def kill_session(
    session: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="Its id in faith sessions.",
            autocompletion=completion.sessions,
        ),
    ],
    at: _Control = None,
) -> None:
    """End a session, with resets to both sides."""
    control_client.ask(at, "kill", session=session)
    print(f"{session} has been reset")


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
    at: _Control = None,
) -> None:
    """Make faithd accept no more connections, and stop when its sessions have ended."""
    answer = control_client.ask(at, "drain", forever=forever, lame_duck=lame_duck)
    left, accepts = answer["sessions"], answer.get("lame_duck")
    until = f"connections are accepted for {accepts:g} s more" if accepts else None
    print(f"{until or 'no more connections are accepted'}; open sessions: {left}")


def undrain(at: _Control = None) -> None:
    """Take back a drain: have faithd accept connections as before."""
    control_client.ask(at, "undrain")
    print("connections are accepted again")


def reload(
    watch: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Do so whenever FILE has changed, until a signal."),
    ] = None,
    at: _Control = None,
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
    app.command("sessions")(show_sessions)
    app.command("kill")(kill_session)
    app.command("drain")(drain)
    app.command("undrain")(undrain)
    app.command("reload")(reload)
