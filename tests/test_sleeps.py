"""Tests wait for events: a sleep gives the loop a turn, or says in a word why time has to pass.

``# time: REASON`` stands where time itself is tested, or is somebody's pace; ``# poll: EVENT``
where something is asked for again that tells nobody when it comes.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REASON = re.compile(r"# (time|poll): \S")

LEFT = {
    "control_bench.py": 2,
    "dns/test_resolver.py": 1,
    "dns/test_server.py": 10,
    "dns/test_tasks.py": 2,
    "dns/test_upstream.py": 1,
    "dns/zones.py": 1,
    "test_admin.py": 1,
    "test_control_connection.py": 1,
    "test_handover.py": 2,
    "test_pair_blocked.py": 6,
    "test_pinhole.py": 3,
    "test_plane.py": 3,
    "test_plane_machine.py": 2,
    "test_rsh_sessions.py": 1,
    "test_worker_handover.py": 2,
    "test_worker_pool.py": 2,
}
"""Sleeps of each file that have yet to say why, or to go: there may be fewer, and never more."""


def sleeps(file: Path) -> list[str]:
    """The calls of ``time.sleep`` and ``asyncio.sleep`` in *file* without a reason."""
    text = file.read_text()
    lines = text.splitlines()
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _sleeps(node) and not _is_a_turn(node):
            last = node.end_lineno or node.lineno
            if not REASON.search("\n".join(lines[node.lineno - 1 : last])):
                found.append(f"{file.relative_to(TESTS)}:{node.lineno}")
    return found


def _sleeps(call: ast.Call) -> bool:
    return ast.unparse(call.func) in ("time.sleep", "asyncio.sleep", "sleep")


def _is_a_turn(call: ast.Call) -> bool:
    """Return whether it is ``sleep(0)``, which gives the loop a turn and waits for nothing."""
    return isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


@pytest.mark.parametrize(
    "file", sorted(TESTS.rglob("*.py")), ids=lambda file: str(file.relative_to(TESTS))
)
def test_a_sleep_says_why(file: Path) -> None:
    found = sleeps(file)
    most = LEFT.get(str(file.relative_to(TESTS)), 0)
    assert len(found) <= most, f"wait for an event, or say why time has to pass: {found}"


def test_files_that_are_left_are_there() -> None:
    assert all((TESTS / name).exists() for name in LEFT)


def test_a_sleep_without_a_reason_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_sleeps.TESTS", tmp_path)
    file = tmp_path / "test_it.py"
    file.write_text(
        "time.sleep(1)\n"
        "await asyncio.sleep(0)\n"
        "time.sleep(2)  # time: the limit\n"
        "await asyncio.sleep(pause)  # later\n"
        "program('time.sleep(60)')\n"
    )
    assert sleeps(file) == ["test_it.py:1", "test_it.py:4"]
