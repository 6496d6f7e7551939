"""Connections that are open and idle."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench import ends
from bench.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.bed import Bed
    from bench.way import Way


@contextmanager
def holding(bed: Bed, way: Way) -> Iterator[Callable[[int], None]]:
    """Within the block, what it gives is called with a number of sessions to have open.

    *way* leads to an echo.  Raises MeasureError when they could not be opened.
    """
    program = bed.lab.client.popen(
        ends.command("hold", *way.words), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdin
    assert program.stdout
    orders, answers = program.stdin, program.stdout

    def hold(sessions: int) -> None:
        orders.write(f"{sessions}\n")
        orders.flush()
        if answers.readline() != f"{sessions}\n":
            raise MeasureError(f"{sessions} sessions could not be opened")

    try:
        yield hold
    finally:
        program.kill()
        program.communicate()
