"""The benchmark of UDP: whether it works, not what it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import faith
from bench.datagrams import CONTENDERS
from bench.programs import IPERF3

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(faith.__file__).parents[1]


@pytest.mark.netns
@pytest.mark.peers
@pytest.mark.timeout(180)
def test_every_contender_is_measured(need: Callable[[str], str]) -> None:
    for program in {IPERF3, *(program for one in CONTENDERS for program in one.needs)}:
        need(program.name)
    done = subprocess.run(
        [sys.executable, "-m", "bench.datagrams", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    for one in CONTENDERS:
        assert float(rows[one.name][0].replace(",", "")) > 0
