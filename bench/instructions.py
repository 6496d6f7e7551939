"""Instructions per connection, request or megabyte, as the CPU counts them.

A machine that does other things as well disturbs times; these it hardly does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.counting import compare
from bench.perf import EVENTS, counting, processes
from bench.programs import PERF
from bench.table import number, table

if TYPE_CHECKING:
    import argparse
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.contenders.base import Running
    from bench.counting import Counts

_MODES = "in user mode", "in the kernel"


def run(options: argparse.Namespace) -> int:
    """Print a table of instructions by mode and contender; returns the exit status."""
    counted, unit = compare(options, PERF, _counting)
    rows = [
        [where, *(number(counts.get(event), 0) for counts in counted.values())]
        for event, where in zip(EVENTS, _MODES, strict=True)
    ]
    print(f"Instructions per {unit}:\n\n{table(['instructions', *counted], rows)}")
    return 0


def _counting(running: Running, file: Path) -> AbstractContextManager[Counts]:
    return counting(file, *processes(running))
