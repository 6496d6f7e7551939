"""``faith top`` without keys: a table that is drawn again after each reading, or printed once."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from faith.cli.top import columns
from faith.cli.top.snapshot import Snapshot
from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.top.arrangement import Arrangement
    from faith.cli.top.reading import Reader

WIDTH = 160
"""Characters of a line that is printed where there is no terminal."""


def follow(
    reader: Reader, wanted: dict[str, Any], arrangement: Arrangement, interval: float
) -> None:
    """Draw the sessions until Ctrl-C, as many as the terminal has lines for."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    snapshot = Snapshot()
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            reading = reader.read(wanted)
            snapshot.accept(reading)
            shown = lines(snapshot, wanted, arrangement, console.width, console.height - 1)
            live.update(Text("\n".join(shown), no_wrap=True, overflow="crop"), refresh=True)
            time.sleep(reading.pause(interval))


def print_once(
    reader: Reader, wanted: dict[str, Any], arrangement: Arrangement, interval: float, width: int
) -> None:
    """Print all sessions, with their rates over *interval* seconds.  Raises FaithError."""
    for line in lines(once(reader, wanted, interval), wanted, arrangement, width):
        print(line)


def once(reader: Reader, wanted: dict[str, Any], interval: float) -> Snapshot:
    """Return what two readings tell that are *interval* seconds apart.  Raises FaithError."""
    snapshot = Snapshot()
    for pause in (interval, 0.0):
        reading = reader.read(wanted)
        if reading.error:
            raise FaithError(reading.error)
        snapshot.accept(reading)
        time.sleep(pause)
    return snapshot


def lines(
    snapshot: Snapshot,
    wanted: dict[str, Any],
    arrangement: Arrangement,
    width: int,
    height: int = sys.maxsize,
) -> Iterator[str]:
    """Return the lines to show in *width* columns and *height* lines, five at least."""
    head = [*snapshot.summary(wanted).splitlines(), *filter(None, [snapshot.message()])]
    rows = snapshot.arranged(arrangement)
    room = height - len(head) - 1
    shown = rows if len(rows) <= room else rows[: max(0, room - 1)]
    fitted = columns.fitted(shown, width, groups=bool(arrangement.group))
    yield from head
    yield columns.heading(fitted, arrangement.sort, ascending=arrangement.ascending)
    yield from (columns.line(row, fitted).rstrip() for row in shown)
    if len(shown) < len(rows):
        yield f"... {len(rows) - len(shown):,} more"
