"""The kernel's own profiler, perf, beside what it looks at."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.contenders.base import last_words
from bench.errors import MeasureError
from bench.programs import PERF, path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.contenders.base import Running


@contextmanager
def perf(running: Running, *command: str) -> Iterator[None]:
    """Run it within the block and no longer; what it writes is there afterwards.

    Raises MeasureError when it does not begin.
    """
    orders, give = os.pipe()
    hear, answers = os.pipe()
    argv = [path(PERF), *command, "-D", "-1", "--control", f"fd:{orders},{answers}"]
    program = subprocess.Popen(
        [*argv, "-p", ",".join(map(str, running.processes))],
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
