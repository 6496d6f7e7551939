"""Where the CPU time of a contender goes: perf for all of it, py-spy for faithd's Python."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.bed import Bed, near
from bench.contenders import ALL, OURS
from bench.contenders.base import last_words
from bench.errors import MeasureError
from bench.loads import needs, serve, suits, work
from bench.perf import perf, processes
from bench.placement import apart
from bench.programs import PERF, PY_SPY, lacking, path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from bench.contenders.base import Contender, Running
    from bench.programs import Program
    from bench.scale import Scale

_LINES = 60
_RATE = 499
"""Samples a second: not in step with the kernel's own clock."""


def run(options: argparse.Namespace) -> int:
    """Print a profile of each contender; returns the exit status."""
    tools = [tool for tool in (PERF, PY_SPY) if not lacking([tool])]
    if not tools:
        print(f"neither {PERF} nor {PY_SPY} is installed")
        return 1
    for contender in ALL:
        if contender.name in options.only:
            if missing := lacking((*contender.needs, *needs(options.load))):
                print(f"{contender.name} is skipped: without {', '.join(missing)}")
                continue
            if not suits(options.load, contender):
                print(f"{contender.name} is skipped: it is not for {options.load}")
                continue
            for tool in tools:
                if tool is PERF or contender.name in OURS:
                    print(f"{contender.name}, {options.load}, by {tool.name}:\n")
                    print(_profile(contender, options.load, options.scale, tool))
    return 0


def _profile(contender: Contender, load: str, scale: Scale, tool: Program) -> str:
    recording, report = (_perf, _perf_report) if tool is PERF else (_py_spy, _py_spy_report)
    with Bed(near, apart(), scale.congestion) as bed, contender.start(bed) as running:
        serve(bed, load)
        recorded = bed.directory / "profile"
        with recording(running, recorded):
            work(bed, running, load, scale)
        return report(recorded)


@contextmanager
def _perf(running: Running, file: Path) -> Iterator[None]:
    # A virtual machine may have no cycle counter; the clock is there always.
    clock = "-e", "cpu-clock", "-F", str(_RATE)
    with perf("record", *clock, "-o", str(file), *processes(running)):
        yield


def _perf_report(file: Path) -> str:
    """The shares of kernel, interpreter and libraries; then those of their functions."""
    return "\n".join(
        _perf_lines(file, fields) for fields in ("overhead,dso", "overhead,dso,symbol")
    )


def _perf_lines(file: Path, fields: str) -> str:
    argv = [path(PERF), "report", "--stdio", "-F", fields, "-i", str(file)]
    report = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout
    lines = [line.rstrip() for line in report.splitlines() if line and not line.startswith("#")]
    return "\n".join(lines[:_LINES]) + "\n"


@contextmanager
def _py_spy(running: Running, file: Path) -> Iterator[None]:
    options = ["--format", "raw", "--nonblocking", "--subprocesses", "--rate", str(_RATE)]
    argv = [path(PY_SPY), "record", *options, "-o", str(file), "-p", str(running.programs[0])]
    recorder = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        said, _ = recorder.communicate(timeout=30)
    if not file.exists():
        raise MeasureError(f"{argv[0]}: {last_words(said)}")


def _py_spy_report(file: Path) -> str:
    """Samples by the function that ran, from lines of stacks: ``outer;...;inner COUNT``."""
    samples: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        samples[stack.rpartition(";")[2]] += int(count)
    total = samples.total() or 1
    return "".join(
        f"{count / total:7.2%}  {function}\n" for function, count in samples.most_common(_LINES)
    )
