"""The OOM score adjustment, by files that stand for those of /proc, and of a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.kernel.process import oom_score
from faith.kernel.process.oom_score import CHILD, MOST, SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Callable

    Written = list[tuple[int, int | str]]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Written]:
    """Begin with an adjustment of one's own; returns what is written, and to whom."""

    def begin(own: int) -> Written:
        written: Written = []
        monkeypatch.setattr(oom_score, "_read", lambda: own)
        monkeypatch.setattr(oom_score, "_write", lambda *both: written.append(both))
        return written

    return begin


@pytest.mark.parametrize(
    ("own", "after"), [(0, [(SUPERVISOR, "self")]), (SUPERVISOR, []), (-900, []), (100, [])]
)
def test_a_supervisor_is_protected_once_unless_somebody_chose_otherwise(
    begin: Callable[[int], Written], own: int, after: Written
) -> None:
    written = begin(own)
    oom_score.lower_own()
    assert written == after


@pytest.mark.parametrize(
    ("inherited", "own"),
    [(0, CHILD), (SUPERVISOR, CHILD), (-900, CHILD - 900), (100, CHILD + 100), (990, MOST)],
)
def test_a_child_is_preferred_by_as_much_whatever_its_supervisor_has(
    begin: Callable[[int], Written], inherited: int, own: int
) -> None:
    written = begin(inherited)
    oom_score.raise_own()
    assert written == [(own, "self")]


@pytest.mark.parametrize(("inherited", "after"), [(0, []), (SUPERVISOR, [(0, 7)]), (-900, [])])
def test_a_program_that_is_started_is_not_protected(
    begin: Callable[[int], Written], inherited: int, after: Written
) -> None:
    written = begin(inherited)
    oom_score.unprotect(7)
    assert written == after


def test_the_kernel_has_what_was_raised() -> None:
    before = int(Path("/proc/self/oom_score_adj").read_text())
    pid = os.fork()
    if not pid:
        oom_score.raise_own()
        now = int(Path("/proc/self/oom_score_adj").read_text())
        os._exit(now != min(before + CHILD, MOST))
    assert os.waitpid(pid, 0)[1] == 0


def test_a_process_that_is_gone_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "faith.process")
    oom_score._write(0, 0)
    assert "the OOM adjustment of 0 stays: No such file" in caplog.text
