"""Output where it is hard: pipes that close, full disks, plain and narrow terminals, no UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import faith

ROOT = Path(faith.__file__).parent.parent
BIN = Path(sys.executable).parent
PLAIN = {
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "COLUMNS": "40",
}
PREFIX = "64:ff9b::/96"
GOOD = [
    ["faith", "--help"],
    ["faith", "check", "--help"],
    ["faith", "dns", "--help"],
    ["faith", "status"],
    ["faith", "status", "--json"],
    ["faith", "addr", "-p", PREFIX, "192.0.2.1"],
    ["faith", "ra", "-p", PREFIX],
    ["faith", "check", "--elsewhere", str(ROOT / "examples" / "faith.toml")],
    ["faith", "--version"],
    ["faithd", "--help"],
    ["faithd", "--version"],
    ["faithd", "--inetd", "--help"],
]
BAD = [
    ["faith", "stätus"],
    ["faith", "addr", "-p", "ä::/96", "192.0.2.1"],
    ["faith", "check", "/ä/“x”"],
    ["faithd", "tälnet"],
    ["faithd", "--config", "/ä/“x”"],
]


def run(
    argv: list[str], environment: dict[str, str] | None = None, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [BIN / argv[0], *argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@pytest.mark.parametrize("argv", GOOD, ids=" ".join)
def test_a_plain_terminal_gets_plain_text(argv: list[str]) -> None:
    done = run(argv, PLAIN)
    assert done.returncode == 0 or (argv[1] == "status" and done.returncode == 1)  # nobody serves
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("argv", BAD, ids=" ".join)
@pytest.mark.parametrize("environment", [PLAIN, {"LC_ALL": "C.UTF-8"}], ids=["C", "UTF-8"])
def test_an_error_can_be_shown_anywhere(argv: list[str], environment: dict[str, str]) -> None:
    done = run(argv, environment)
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert done.stderr.decode("ascii" if environment is PLAIN else "utf-8")


@pytest.mark.parametrize("argv", GOOD, ids=" ".join)
def test_a_pipe_that_nobody_reads_is_no_reason_to_complain(argv: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(argv, stdout=writing)
    finally:
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode in (0, 1)


@pytest.mark.parametrize("argv", [one for one in GOOD if one[0] == "faith"], ids=" ".join)
def test_a_full_disk_is_told_with_what_is_full(argv: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = run(argv, stdout=full.fileno())
    assert done.stderr == b"faith: standard output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("argv", [one for one in GOOD if "--help" in one], ids=" ".join)
def test_help_fits_a_narrow_terminal(argv: list[str]) -> None:
    lines = run(argv, PLAIN).stdout.decode().splitlines()
    usage = [line for line in lines if line.lower().startswith("usage")]
    assert usage
    if argv[0] == "faith":  # the library takes 50 columns at least
        assert max(map(len, lines)) <= 50


def test_the_questions_of_setup_fit_a_narrow_terminal() -> None:
    done = run(["faith", "setup", "--print"], PLAIN)
    assert done.returncode == 1
    told = done.stderr.decode().splitlines()
    assert "standard input ended before the last answer" in told[-1]
    about = [line for line in told if line.startswith(("Clients reach", "a.b.c.d"))]
    assert about
    assert max(map(len, about)) < 40
