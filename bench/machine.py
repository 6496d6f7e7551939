"""The machine and the programs that figures belong to."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cgroup
from bench.programs import (
    DANTE,
    GO,
    HAPROXY,
    IPERF3,
    NGINX,
    SOCAT,
    SQUID,
    TINYPROXY,
    WRK,
)
from bench.usage import slabs_are_readable

if TYPE_CHECKING:
    from bench.programs import Program
    from bench.scale import Scale


def describe(scale: Scale) -> dict[str, str]:
    """What to say of them, each under its name."""
    described = {
        "CPUs": f"{len(os.sched_getaffinity(0))}, {_first('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_first('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "congestion control": scale.congestion,
        "Python": platform.python_version(),
        "whole machine": "the control group of all that takes part, and ksoftirqd"
        if cgroup.cpu() is not None
        else "everything that runs: a control group may not be made",
        "kernel memory": "objects in /proc/slabinfo and TCP's buffers"
        if slabs_are_readable()
        else "slabs in /proc/meminfo and TCP's buffers: /proc/slabinfo may not be read",
    }
    for program in (HAPROXY, NGINX, GO, SOCAT, SQUID, DANTE, TINYPROXY, WRK, IPERF3):
        described[program.name] = version(program)
    return described


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def version(program: Program) -> str:
    """The version of an installed program."""
    if program.path is None:
        return "not installed"
    said = subprocess.run(
        [program.path, program.version], capture_output=True, text=True, check=False
    )
    found = re.search(r"\d+\.\d[\w.+~-]*", said.stdout + said.stderr)
    return found[0] if found else "unknown"
