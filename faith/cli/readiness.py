"""``faith ready``: the readiness of this host, for routing daemons, VRRP and health checks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Annotated

import typer

from faith.daemon.host import discovery
from faith.errors import ConfigError

PAUSE = 0.2
"""Seconds between two looks."""
RETRY = 2.0
"""Seconds until a command that failed is run again."""


@dataclass(frozen=True)
class Readiness:
    """Whether new connections should come here; *obstacles* say why not."""

    obstacles: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """True without obstacles."""
        return not self.obstacles

    def __str__(self) -> str:
        return "; ".join(self.obstacles) or "ready"


def look() -> Readiness:
    """Return the readiness of this host: that of all its daemons, of which there must be one."""
    daemons = discovery.running()
    if not daemons:
        hidden = discovery.hidden()
        return Readiness((f"{hidden} faithds may not be asked" if hidden else "no faithd answers",))
    several = len(daemons) > 1
    return Readiness(
        tuple(
            f"{daemon.service} (pid {daemon.pid}): {obstacle}" if several else obstacle
            for daemon in daemons
            for obstacle in daemon.obstacles
        )
    )


def show_readiness(
    watch: Annotated[bool, typer.Option("--watch", help="Say it at each change.")] = False,
    up: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Run it when the host becomes ready.")
    ] = None,
    down: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="And this when it is not, or at the end.")
    ] = None,
) -> int:
    """Say whether the daemons here serve new connections, as /readyz does: 0 if so, else 1.

    With --watch it goes on until a signal. The commands are the shell's.
    """
    if not watch:
        if up or down:
            raise ConfigError("--up and --down belong to --watch")
        found = look()
        print(found)
        return 0 if found.ready else 1
    _watch(up, down)
    return 0


def _watch(up: str | None, down: str | None) -> None:
    """Say each change, and run its command, until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *about: sys.exit(0))
    said = None
    done: bool | None = None
    again = 0.0
    try:
        while True:
            found = look()
            if found != said:
                print(found, flush=True)
                said = found
            if found.ready != done and time.monotonic() >= again:
                done = found.ready if _run(up if found.ready else down) else None
                again = 0.0 if done is not None else time.monotonic() + RETRY
            time.sleep(PAUSE)
    finally:
        if done is not False:
            _run(down)


def _run(command: str | None) -> bool:
    """Run *command* by the shell, if there is one; return whether it succeeded."""
    if command is None:
        return True
    status = subprocess.run(command, shell=True, check=False).returncode
    if status:
        print(f"faith: {command}: exit status {status}", file=sys.stderr, flush=True)
    return not status


def join(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command("ready")(show_readiness)
