"""The benchmarks' smoke form: they run, and print every row; no figure is judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import faith
from bench.contenders import CONTENDERS, PROXIES
from bench.measures import MEASURES, OF_PROXIES
from bench.perf import counts_instructions
from bench.programs import BPF, GO, OTHER_USERS, TUN, lacking
from bench.scale import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.contenders.base import Contender
    from bench.measures.base import Measure

pytestmark = [pytest.mark.netns, pytest.mark.peers, pytest.mark.timeout(240)]

ROOT = Path(faith.__file__).parents[1]
OPTIONAL = {str(need) for need in (BPF, GO, OTHER_USERS, TUN)}


def bench(*arguments: object) -> str:
    """Run it; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def needed(one: Any, need: Callable[[str], str]) -> bool:
    """Whether it can be run; what it needs and is not optional has to be there."""
    for program in one.needs:
        if str(program) not in OPTIONAL:
            need(program.name)
    return not lacking(one.needs)


@pytest.mark.parametrize(
    ("command", "contending", "measured"),
    [((), CONTENDERS, MEASURES), (("proxies",), PROXIES, OF_PROXIES)],
)
def test_every_row_has_a_figure_of_every_contender_it_suits(
    tmp_path: Path,
    need: Callable[[str], str],
    command: tuple[str, ...],
    contending: tuple[Contender, ...],
    measured: tuple[Measure, ...],
) -> None:
    contenders = [one for one in contending if needed(one, need)]
    measures = [one for one in measured if needed(one, need)]

    printed = bench(*command, "--quick", "--json", tmp_path / "figures")

    figures = json.loads((tmp_path / "figures").read_text())["figures"]
    for measure in measured:
        for row in measure.rows(QUICK):
            assert f"\n{row} " in printed
    for measure in measures:
        for contender in filter(measure.suits, contenders):
            rows = [str(row) for row in measure.rows(QUICK)]
            assert any(contender.name in figures.get(row, {}) for row in rows), contender.name


def test_system_calls_are_counted(need: Callable[[str], str]) -> None:
    for program in ("strace", "wrk", "nginx"):
        need(program)
    printed = bench("syscalls", "--quick")
    assert "System calls per connection:" in printed
    assert "accept4" in printed


def test_instructions_are_counted(need: Callable[[str], str]) -> None:
    for program in ("wrk", "nginx"):
        need(program)
    need("perf")
    if not counts_instructions():
        pytest.skip("this CPU does not say how many instructions it executes")
    printed = bench("instructions", "--quick", "--load", "requests")
    assert "Instructions per request:" in printed
    assert re.search(r"\nin user mode +[0-9,]*[1-9]", printed)


@pytest.mark.parametrize(
    ("whose", "load"),
    [
        ("relay", "connections"),
        ("relay", "requests"),
        ("relay", "bulk"),
        ("proxy", "socks5"),
        ("proxy", "forward"),
    ],
)
def test_where_time_goes_is_shown(whose: str, load: str, need: Callable[[str], str]) -> None:
    for program in ("perf", "wrk", "nginx", "iperf3", "cc"):
        need(program)
    printed = bench("profile", "--quick", "--only", whose, "--load", load)
    assert f"{whose}, {load}, by perf:" in printed


def test_a_load_that_is_not_for_a_proxy_is_not_given_to_it(need: Callable[[str], str]) -> None:
    for program in ("perf", "iperf3"):
        need(program)
    printed = bench("profile", "--quick", "--only", "proxy", "--load", "bulk")
    assert printed == "proxy is skipped: it is not for bulk\n"


def test_what_is_asked_for_wrongly_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "relay,nothing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "'nothing' is none of relay, " in done.stderr
