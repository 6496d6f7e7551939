"""The option ``--version`` of faith(8) and of the commands that serve."""

from __future__ import annotations

from typing import Annotated

import typer

from faith.version import VERSION


def _show(wanted: bool) -> None:
    if wanted:
        print(f"faith {VERSION}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show, help="Show the version.")
]
