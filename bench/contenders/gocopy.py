"""What a Go programmer would write: io.Copy both ways, two goroutines a connection."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bed import BULK, ECHO, HTTP
from bench.contenders.base import MANY, Running
from bench.errors import MeasureError
from bench.programs import GO, path
from faith.lab.topology import GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from bench.bed import Bed

_SOURCE = Path(__file__).with_name("relay.go")


class GoCopy:
    """Built when it is first started."""

    name = "go"
    needs = (GO,)
    most_sessions = MANY
    scales = True

    def start(self, bed: Bed, workers: int = 1) -> Running:
        """As every contender."""
        argv = [f"{_built().name}/relay", GATEWAY_V6, SERVER]
        program = bed.start(
            bed.lab.gateway,
            [*argv, *map(str, (ECHO, HTTP, BULK))],
            env={**os.environ, "GOMAXPROCS": str(workers)},
        )
        return Running(bed, GATEWAY_V6, [program])


@cache
def _built() -> tempfile.TemporaryDirectory[str]:
    """A directory with the program, which goes when this process does."""
    directory = tempfile.TemporaryDirectory(prefix="faith-bench-go-")
    built = subprocess.run(
        [path(GO), "build", "-o", f"{directory.name}/relay", str(_SOURCE)],
        env={**os.environ, "GOCACHE": f"{directory.name}/cache", "GO111MODULE": "off"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if built.returncode:
        raise MeasureError(f"go build: {built.stderr.strip()}")
    return directory
