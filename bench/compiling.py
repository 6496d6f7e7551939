"""Programs in C for the ends of the network, compiled when they are first wanted."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from bench.errors import MeasureError
from bench.programs import CC, path


def compiled(name: str) -> Path:
    """The program of one of the files in ``bench/ends``.  Raises MeasureError."""
    return Path(_built(name).name, name)


@cache
def _built(name: str) -> tempfile.TemporaryDirectory[str]:
    """A directory with the program, which goes when this process does."""
    directory = tempfile.TemporaryDirectory(prefix="faith-bench-c-")
    source = Path(__file__).with_name("ends") / f"{name}.c"
    argv = [path(CC), "-O2", "-o", f"{directory.name}/{name}", str(source)]
    built = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if built.returncode:
        raise MeasureError(f"{' '.join(argv)}: {built.stderr.strip()}")
    return directory
