"""scripts/mutate, on a module of three lines whose tests miss one of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "mutate"
MODULE = """
def is_small(number: int) -> bool:
    number += 0
    return number < 10
"""
TESTS = """
from small import is_small
def test_it():
    assert is_small(-5) and not is_small(20)
"""
EDGE = """
def test_edge():
    assert is_small(9) and not is_small(10)
"""
CONFTEST = """
from hypothesis import settings
settings.register_profile("mutation")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    for name, text in (("small", MODULE), ("test_small", TESTS), ("conftest", CONFTEST)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def mutate(tree: Path, *options: str) -> tuple[int, list[str]]:
    """The status, and the lines it prints."""
    command = [
        sys.executable,
        str(tree / "scripts" / "mutate"),
        *options,
        "small.py",
        "test_small.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_it_tells_what_the_tests_miss(tree: Path) -> None:
    status, lines = mutate(tree)
    assert status == 1
    assert set(lines) == {
        "small.py:3: Add -> Sub",
        "small.py:3: 0 -> 1",
        "small.py:3: number += 0 -> pass",
        "small.py:4: Lt -> LtE",
        "small.py:4: 10 -> 11",
        "small.py: 2 of 7 mutants killed",
    }
    (tree / "test_small.py").write_text(TESTS + EDGE)
    (tree / "survivors").write_text("\n".join(lines))
    assert mutate(tree, "--again", str(tree / "survivors"))[1][-1] == (
        "small.py: 3 of 5 mutants killed"
    )
    assert (tree / "small.py").read_text() == MODULE


def test_a_sample_is_the_same_each_time(tree: Path) -> None:
    first, second = (mutate(tree, "--sample", "2")[1] for _ in range(2))
    assert sorted(first) == sorted(second)
    assert first[-1].endswith("of 2 mutants killed")


def test_tests_that_fail_anyway_prove_nothing(tree: Path) -> None:
    (tree / "test_small.py").write_text("def test_it(): assert False")
    command = [sys.executable, str(tree / "scripts" / "mutate"), "small.py", "test_small.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert done.stderr == "the tests fail on the module as it is\n"
