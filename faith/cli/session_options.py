"""The options of the commands that show or end sessions: which, and of which daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faith.cli import completion
from faith.translation.selection import Selection

Client = Annotated[
    str | None,
    typer.Option("--client", metavar="NETWORK", help="Only sessions of these clients."),
]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="NETWORK", help="Only sessions with these servers."),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", min=0, max=65535, help="Only sessions with this port of servers."
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="NETWORK", help="Only sessions whose servers see these addresses."
    ),
]
Control = Annotated[
    Path | None,
    typer.Option(
        "--control",
        metavar="FILE",
        help="The faithd's control socket, if several run here.",
        autocompletion=completion.controls,
    ),
]


def wanted(
    client: str | None, server: str | None, port: int | None, source: str | None
) -> dict[str, Any]:
    """Return those of the options that were given, by their names.  Raises ConfigError."""
    options = {"client": client, "server": server, "port": port, "source": source}
    Selection(client, server, source, port)
    return {name: value for name, value in options.items() if value is not None}
