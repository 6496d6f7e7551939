"""Counting what contenders do for each piece of work, with a program that looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bed import Bed, near
from bench.contenders import ALL
from bench.loads import needs, serve, suits, work
from bench.placement import apart
from bench.programs import lacking

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.contenders.base import Contender, Running
    from bench.programs import Program
    from bench.scale import Scale

    Counter = Callable[[Running, Path], AbstractContextManager["Counts"]]
    """Counts within the block, with a file to use for it; the counts are there after it."""

Counts = dict[str, float]


def compare(
    options: argparse.Namespace, tool: Program, counting: Counter
) -> tuple[dict[str, Counts], str]:
    """The counts for one piece of work by contender, and what a piece is.

    Those that cannot be counted are left out, and a line says so.  Raises MeasureError.
    """
    counted, unit = {}, ""
    for contender in ALL:
        if contender.name in options.only:
            if missing := lacking((*contender.needs, tool, *needs(options.load))):
                print(f"{contender.name} is skipped: without {', '.join(missing)}")
            elif not suits(options.load, contender):
                print(f"{contender.name} is skipped: it is not for {options.load}")
            else:
                counted[contender.name], unit = _count(
                    contender, options.load, options.scale, counting
                )
    return counted, unit


def _count(contender: Contender, load: str, scale: Scale, counting: Counter) -> tuple[Counts, str]:
    with Bed(near, apart(), scale.congestion) as bed, contender.start(bed) as running:
        serve(bed, load)
        if not running.programs:
            return {}, work(bed, running, load, scale).what
        with counting(running, bed.directory / "counts") as counts:
            done = work(bed, running, load, scale)
        return {name: count / done.amount for name, count in counts.items()}, done.what
