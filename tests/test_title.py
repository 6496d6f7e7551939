"""The title of a process, as ps(1) and pgrep(1) see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, subprocess, sys
from faith.kernel.title import set_title
set_title(sys.argv[1]); set_title(sys.argv[1])
own = f"/proc/{os.getpid()}"
print(repr(open(f"{own}/cmdline", "rb").read().rstrip(b"\\0").decode()))
print(repr(open(f"{own}/comm").read()))
print(b"MARK=here" in open(f"{own}/environ", "rb").read().split(b"\\0"), os.getenv("MARK"))
print(repr(subprocess.run(["printenv", "MARK"], capture_output=True, text=True).stdout))
print(repr(sys.argv[1]))
sys.stdout.flush()
print(subprocess.run(["ps", "-o", "args=", "-p", str(os.getpid())], text=True,
    capture_output=True).stdout.rstrip())
"""


def told(title: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", CODE, title],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MARK": "here"},
    )
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_ps_shows_it_and_nothing_else_changes() -> None:
    cmdline, comm, *environment, argument, shown = told("faithd: worker 2")
    assert cmdline == "'faithd: worker 2'"
    assert comm == r"'faithd\n'"
    assert environment == ["True here", r"'here\n'"]
    assert argument == "'faithd: worker 2'"
    assert shown == "faithd: worker 2"


def test_it_is_cut_off_at_the_end_of_the_command_line() -> None:
    title = "faithd: " + "ä" * 5000
    cmdline, comm, *environment, _, _ = told(title)
    assert cmdline.startswith("'faithd: ää")
    assert set(cmdline[len("'faithd: ") : -1]) == {"ä"}
    assert comm == r"'faithd\n'"
    assert environment == ["True here", r"'here\n'"]


@pytest.mark.parametrize("missing", ["comm", "stat", "mem"])
def test_where_proc_is_forbidden_the_process_serves_as_well(missing: str) -> None:
    code = f"""
import builtins
real = open
def refusing(file, *rest, **more):
    if file == "/proc/self/{missing}":
        raise PermissionError(13, "Permission denied")
    return real(file, *rest, **more)
builtins.open = refusing
from faith.kernel.title import set_title
set_title("faithd: worker 2")
print(real("/proc/self/cmdline").read().partition(chr(0))[0])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()).name.startswith("python")
    assert run.stderr == ""
