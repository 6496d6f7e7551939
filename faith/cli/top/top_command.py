"""The command ``faith top``: which of its three ways of showing sessions is possible here."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import Annotated, Any

import msgspec
import typer

from faith.cli import completion, session_options
from faith.cli.status_watch import LEAST, MOST
from faith.cli.top import arrangement as arrangements
from faith.cli.top import live_table
from faith.cli.top.arrangement import Arrangement
from faith.cli.top.reading import Reader
from faith.errors import FaithError

INTERVAL = 2.0
"""Seconds between two readings, unless they take long."""


def top(
    client: session_options.Client = None,
    server: session_options.Server = None,
    port: session_options.Port = None,
    source: session_options.Source = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help=f"By one of {', '.join(arrangements.SORTS)}.",
            autocompletion=completion.words(*arrangements.SORTS),
        ),
    ] = "rate",
    group: Annotated[
        str,
        typer.Option(
            metavar="client|server",
            help="One line for each /64, or server.",
            autocompletion=completion.words(*filter(None, arrangements.GROUPS)),
        ),
    ] = "",
    interval: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=LEAST, max=MOST, help="Seconds between two readings."),
    ] = INTERVAL,
    once: Annotated[
        bool, typer.Option("--once", help="Print one table, with rates over SECONDS.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As --once, in JSON.")] = False,
    at: session_options.Control = None,
) -> None:
    """Show the sessions of a running faithd with their rates, and how it is."""
    wanted = session_options.wanted(client, server, port, source)
    arrangement = Arrangement(sort, group=group)
    reader = Reader(at)
    if once or as_json:
        _show_once(reader, wanted, arrangement, interval, as_json=as_json)
    elif why := _without_terminal():
        _show_once(reader, wanted, arrangement, interval, as_json=False)
        print(f"faith: {why}: this was one table, and it is over", file=sys.stderr)
    else:
        _follow(reader, wanted, arrangement, interval)


def _show_once(
    reader: Reader,
    wanted: dict[str, Any],
    arrangement: Arrangement,
    interval: float,
    *,
    as_json: bool,
) -> None:
    if as_json:
        rows = live_table.once(reader, wanted, interval).arranged(arrangement)
        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else live_table.WIDTH
        live_table.print_once(reader, wanted, arrangement, interval, width)


def _without_terminal() -> str:
    """Return why there is nothing to draw on, or ""."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return "input or output is no terminal"
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return "this terminal cannot move its cursor (TERM)"
    return ""


def _follow(
    reader: Reader, wanted: dict[str, Any], arrangement: Arrangement, interval: float
) -> None:
    """Show what changes until the user ends it.  Raises FaithError if there is no daemon."""
    reading = reader.read(wanted)
    if reading.daemon is None:
        raise FaithError(reading.error)
    if find_spec("textual") is None:
        print(
            "faith: without Textual (pip install 'faith[top]') there are no keys", file=sys.stderr
        )
        live_table.follow(reader, wanted, arrangement, interval)
        return
    from faith.cli.top.top_app import TopApp

    TopApp(reader, wanted, arrangement, interval).run()


def join(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command("top")(top)
