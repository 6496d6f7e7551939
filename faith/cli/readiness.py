"""``faith ready``: the readiness of this host, for routing daemons, VRRP and health checks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from faith.daemon.host import discovery
from faith.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ANSWER = "no faithd answers"
PAUSE = 0.1
"""Seconds between two looks."""
RETRY = 2.0
"""Seconds until a command that failed is run again."""


READY, LAME_DUCK, DOWN = "ready", "lame duck", "down"
"""The states of a host; a lame duck serves new connections, which should go elsewhere by now."""


class Readiness(NamedTuple):
    """The *state* of this host, and *why* as a sentence."""

    state: str
    why: str


def look() -> Readiness:
    """Return the readiness of this host: that of all its daemons, of which there must be one."""
    daemons = discovery.running()
    if not daemons:
        hidden = discovery.hidden()
        return Readiness(DOWN, f"{hidden} faithds may not be asked" if hidden else NO_ANSWER)
    obstacles = [
        f"{daemon.service} (pid {daemon.pid}): {obstacle}" if len(daemons) > 1 else obstacle
        for daemon in daemons
        for obstacle in daemon.obstacles
    ]
    if not obstacles:
        return Readiness(READY, READY)
    serves = all(daemon.ready or daemon.lame_duck for daemon in daemons)
    return Readiness(LAME_DUCK if serves else DOWN, "; ".join(obstacles))


def show_readiness(
    watch: Annotated[bool, typer.Option("--watch", help="Say it at each change.")] = False,
    up: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Run it when the host becomes ready.")
    ] = None,
    lame_duck: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="And this when it will drain soon; else --down."),
    ] = None,
    down: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="And this when it is not, or at the end.")
    ] = None,
) -> int:
    """Say whether the daemons here serve new connections, as /readyz does: 0 if so, else 1.

    With --watch it goes on until a signal. The commands are the shell's.
    """
    if watch:
        _watch({READY: up, LAME_DUCK: lame_duck or down, DOWN: down})
        return 0
    if up or lame_duck or down:
        raise ConfigError("--up, --lame-duck and --down belong to --watch")
    found = look()
    print(found.why)
    return 0 if found.state == READY else 1


def _watch(commands: Mapping[str, str | None]) -> None:
    """Say each change, and run the command of its state, until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *about: sys.exit(0))
    said = ""
    done: str | None = None
    again = 0.0
    try:
        while True:
            found = look()
            if found.why != said:
                print(found.why, flush=True)
                said = found.why
            if found.state != done and time.monotonic() >= again:
                good = _run(commands[found.state])
                done = found.state if good else None
                again = 0.0 if good else time.monotonic() + RETRY
            time.sleep(PAUSE)
    finally:
        if done != DOWN:
            _run(commands[DOWN])


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
