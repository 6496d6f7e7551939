"""Instructions per connection, request or megabyte, as the CPU counts them.

A machine that does other things as well disturbs times; these it hardly does.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.counting import compare
from bench.errors import MeasureError
from bench.perf import perf
from bench.programs import PERF
from bench.table import number, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders.base import Running
    from bench.counting import Counts

_EVENTS = {"instructions:u": "in user mode", "instructions:k": "in the kernel"}


def run(options: argparse.Namespace) -> int:
    """Print a table of instructions by mode and contender; returns the exit status."""
    counted, unit = compare(options, PERF, _counting)
    rows = [
        [where, *(number(counts.get(event), 0) for counts in counted.values())]
        for event, where in _EVENTS.items()
    ]
    print(f"Instructions per {unit}:\n\n{table(['instructions', *counted], rows)}")
    return 0


@contextmanager
def _counting(running: Running, file: Path) -> Iterator[Counts]:
    """Count within the block; the counts are there after it."""
    counts: Counts = {}
    with perf(running, "stat", "-x", ",", "-o", str(file), "-e", ",".join(_EVENTS)):
        yield counts
    counts.update(_parse(file.read_text()))


def _parse(summary: str) -> Counts:
    """Counts by event; the columns: count, unit, event, and more that is not wanted."""
    counts = {}
    for line in summary.splitlines():
        columns = line.split(",")
        if len(columns) > 2 and columns[0].isdigit():
            counts[columns[2]] = float(columns[0])
    if not counts:
        raise MeasureError(f"perf counted nothing: {summary}")
    return counts
