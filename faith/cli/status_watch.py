"""``faith status --watch``: the report again and again, in place in a terminal, else in blocks."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from faith.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.daemon.observe.status_report import Report

INTERVAL = 2.0
LEAST, MOST = 0.2, 86400.0
"""Seconds between two reports."""

_CLEAR, _REST, _BELOW = "\x1b[H\x1b[2J", "\x1b[K", "\x1b[J"
_HOME = "\x1b[H"


def watch(
    read: Callable[[], Report],
    text: Callable[[Report], str],
    seconds: float = INTERVAL,
    *,
    in_lines: bool = False,
) -> Report:
    """Show *text* of what *read* returns every so many *seconds*, until Ctrl-C.

    Return the last report.  A text *in_lines* is shown as it is, without a heading.  Raises
    ConfigError for an interval that makes no sense.
    """
    if not LEAST <= seconds <= MOST:
        raise ConfigError(f"--watch: {seconds:g} is not from {LEAST:g} to {MOST:g} seconds")
    in_place = sys.stdout.isatty() and not in_lines
    report = read()
    try:
        if in_place:
            sys.stdout.write(_CLEAR)
        while True:
            _show(report, text(report), in_place=in_place, in_lines=in_lines)
            time.sleep(seconds)
            report = read()
    except KeyboardInterrupt:
        if in_place:
            print()
    return report


def _show(report: Report, text: str, *, in_place: bool, in_lines: bool) -> None:
    """Write a report at once, so that nobody sees a half of it."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(report.time))
    if in_lines:
        block = f"{text}\n"
    elif in_place:
        rows = fitting([when, *text.splitlines()], *shutil.get_terminal_size())
        block = "".join((_HOME, *(f"{row}{_REST}\n" for row in rows), _BELOW))
    else:
        block = f"{when}\n{text}\n\n"
    sys.stdout.write(block)
    sys.stdout.flush()


def fitting(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """Return *lines* broken at so many *columns*, and cut short so that they take fewer *rows*."""
    wide = max(1, columns)
    broken = [line[at : at + wide] for line in lines for at in range(0, len(line) or 1, wide)]
    room = max(1, rows - 1)
    if len(broken) <= room:
        return broken
    hidden = len(broken) - room + 1
    return [*broken[: room - 1], f"... {hidden} more lines"[:wide]]
