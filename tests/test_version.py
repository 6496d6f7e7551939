"""The version: one constant, which the package and every program have."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import faith
from faith.version import VERSION

ROOT = Path(faith.__file__).parent.parent
BIN = Path(sys.executable).parent
PROGRAMS = {
    ("faith", "--version"): "faith",
    ("faith", "dns", "--version"): "faith",
    ("faithd", "--version"): "faithd",
    ("faithd", "--inetd", "--version"): "faithd",
}


@pytest.mark.parametrize("command", PROGRAMS, ids=" ".join)
def test_every_program_shows_the_version(command: tuple[str, ...]) -> None:
    program, *words = command
    run = subprocess.run([str(BIN / program), *words], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == (f"{PROGRAMS[command]} {VERSION}\n", "")
    assert run.returncode == 0


def test_the_package_has_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "faith.version.VERSION"}
    assert importlib.metadata.version("faithd") == VERSION


def test_it_is_a_version_of_pep_440_and_stands_nowhere_else() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", VERSION)
    sources = [one for one in (ROOT / "faith").rglob("*.py") if one.name != "version.py"]
    assert not [one for one in sources if f'"{VERSION}"' in one.read_text()]
