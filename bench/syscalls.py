"""System calls per connection, request or megabyte, as strace counts them."""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.counting import compare
from bench.errors import MeasureError
from bench.programs import STRACE, path
from bench.table import NOTHING, table
from faith.lab import wait_until

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders.base import Running
    from bench.counting import Counts

_LEAST = 0.005
"""Calls that are worth a line."""


def run(options: argparse.Namespace) -> int:
    """Print a table of calls by name and contender; returns the exit status."""
    counted, unit = compare(options, STRACE, _counting)
    print(f"System calls per {unit}:\n\n{_table(counted)}")
    return 0


@contextmanager
def _counting(running: Running, file: Path) -> Iterator[Counts]:
    """Count within the block; the counts are there after it."""
    counts: Counts = {}
    tracer = _attach(running, file)
    try:
        yield counts
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)
    counts.update(_parse(file))


def _attach(running: Running, summary: Path) -> subprocess.Popen[str]:
    messages = summary.with_suffix(".log")
    pids = running.processes
    argv = [path(STRACE), "-f", "-c", "-o", str(summary)]
    for pid in pids:
        argv += ["-p", str(pid)]
    with messages.open("w") as file:
        tracer = subprocess.Popen(argv, stderr=file, text=True)
    wait_until(lambda: messages.read_text().count(" attached") >= len(pids), 5, "strace's start")
    return tracer


def _parse(summary: Path) -> Counts:
    """Calls by name; the columns: % time, seconds, usecs/call, calls, errors or nothing, name."""
    calls: Counts = {}
    for line in summary.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit():
            calls[words[-1]] = int(words[3])
    if not calls:
        raise MeasureError(f"strace counted nothing: {summary.read_text()}")
    return calls


def _table(counted: dict[str, Counts]) -> str:
    most: dict[str, float] = {}
    for counts in counted.values():
        for name, calls in counts.items():
            most[name] = max(calls, most.get(name, 0))
    ordered = sorted(most, key=lambda name: (name == "total", -most[name]))
    rows = [
        [name, *(_cell(counts.get(name, 0)) for counts in counted.values())]
        for name in ordered
        if most[name] >= _LEAST
    ]
    return table(["system call", *counted], rows)


def _cell(calls: float) -> str:
    return f"{calls:.2f}" if calls >= _LEAST else NOTHING
