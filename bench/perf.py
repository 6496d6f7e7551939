"""The kernel's own profiler, perf, beside what it looks at."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.contenders.base import last_words
from bench.errors import MeasureError
from bench.programs import PERF, lacking, path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders.base import Running
    from bench.counting import Counts


EVENTS = ("instructions:u", "instructions:k")
"""What is counted: instructions in user mode and in the kernel."""


def counts_instructions() -> bool:
    """Whether perf is there and this CPU, which may be a virtual one, says how many it executes."""
    if lacking([PERF]):
        return False
    argv = [path(PERF), "stat", "-e", EVENTS[0], "true"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return said.returncode == 0 and "<not " not in said.stderr


@contextmanager
def counting(file: Path, *of: str) -> Iterator[Counts]:
    """Count `EVENTS` *of* processes within the block; the counts are there after it.

    *of* is as for `perf`: `processes`, or ``-a``.  Raises MeasureError.
    """
    counts: Counts = {}
    with perf("stat", "-x", ",", "-o", str(file), "-e", ",".join(EVENTS), *of):
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


def processes(running: Running) -> tuple[str, str]:
    """The words by which perf looks at a contender; by ``-a`` it looks at the whole machine."""
    return "-p", ",".join(map(str, running.processes))


@contextmanager
def perf(*command: str) -> Iterator[None]:
    """Run it within the block and no longer; what it writes is there afterwards.

    Raises MeasureError when it does not begin.
    """
    orders, give = os.pipe()
    hear, answers = os.pipe()
    argv = [path(PERF), *command, "-D", "-1", "--control", f"fd:{orders},{answers}"]
    program = subprocess.Popen(
        argv,
        pass_fds=(orders, answers),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(orders)
    os.close(answers)
    try:
        os.write(give, b"enable\n")
        begun = os.read(hear, 16)
        if begun:
            yield
    finally:
        program.send_signal(signal.SIGINT)
        said, _ = program.communicate(timeout=30)
        os.close(give)
        os.close(hear)
    if not begun:
        raise MeasureError(f"perf did not begin: {last_words(said)}")
