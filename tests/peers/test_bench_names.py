"""The benchmark of names in its smoke form: it runs, and prints every row; no figure is judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import faith
from bench import names
from bench.contenders.resolvers import RESOLVERS
from bench.measures.names import Queries, cpu, rate
from bench.programs import DNSPERF, NAMED
from bench.results import Results
from bench.scale import QUICK
from bench.table import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(faith.__file__).parents[1]
FEW = names.FEW[0]


@pytest.mark.netns
@pytest.mark.peers
@pytest.mark.timeout(120)
def test_every_figure_is_measured_of_everybody(need: Callable[[str], str]) -> None:
    needed = {DNSPERF, NAMED, *(program for one in RESOLVERS for program in one.needs)}
    for program in needed:
        need(program.name)
    done = subprocess.run(
        [sys.executable, "-m", "bench.names", "--quick", "--seconds", "0.1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if "]  " in line]
    assert len(rows) == 10
    for row in rows:
        assert row.count(NOTHING) == ("two workers" in row)  # which dnsmasq has not
    assert "\nfaith dns :" in done.stdout


def test_the_report() -> None:
    rows = [row for measure in (Queries(FEW), Queries()) for row in measure.rows(QUICK)]
    assert rows == [rate(FEW), cpu(FEW), rate(0), cpu(0)]
    results = Results(rows, ["faith dns", "unbound"], ["a note"])
    results.add("faith dns", 0, {cpu(FEW): 15.0})
    results.add("unbound", 0, {cpu(FEW): 10.0})
    lines = [line.split() for line in names.report(results).splitlines()]
    assert [*str(cpu(FEW)).split(), "15.0", "10.0"] in lines
    assert [*cpu(FEW).name.split(), "1.50"] in lines
    assert ["-", "a", "note"] in lines


def test_what_is_asked_for_wrongly_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        names.main(["--only", "nothing"])
    assert ended.value.code == 2
    assert "nothing" in capsys.readouterr().err
