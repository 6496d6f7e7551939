"""System calls per connection, request or megabyte, as strace counts them."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

from bench.bed import Bed, near
from bench.contenders import CONTENDERS
from bench.errors import MeasureError
from bench.loads import needs, serve, work
from bench.placement import apart
from bench.programs import STRACE, lacking, path
from bench.table import NOTHING, table
from faith.lab import wait_until

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from bench.contenders.base import Contender, Running
    from bench.scale import Scale

    Counts = dict[str, float]

_LEAST = 0.005
"""Calls that are worth a line."""


def run(options: argparse.Namespace) -> int:
    """Print a table of calls by name and contender; returns the exit status."""
    counted, unit = {}, ""
    for contender in CONTENDERS:
        if contender.name in options.only:
            if missing := lacking((*contender.needs, STRACE, *needs(options.load))):
                print(f"{contender.name} is skipped: without {', '.join(missing)}")
            else:
                counts, unit = count(contender, options.load, options.scale)
                counted[contender.name] = counts
    print(f"System calls per {unit}:\n\n{_table(counted)}")
    return 0


def count(contender: Contender, load: str, scale: Scale) -> tuple[Counts, str]:
    """The calls of each kind for one of what comes second.  Raises MeasureError."""
    with Bed(near, apart(), scale.congestion) as bed, contender.start(bed) as running:
        serve(bed, load)
        summary = bed.directory / "calls"
        tracer = _attach(running, summary) if running.programs else None
        done = work(bed, running.target, load, scale)
        if tracer is None:
            return {}, done.what
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)
        return {name: calls / done.amount for name, calls in _parse(summary).items()}, done.what


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


def _parse(summary: Path) -> dict[str, int]:
    """Calls by name; the columns: % time, seconds, usecs/call, calls, errors or nothing, name."""
    calls = {}
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
