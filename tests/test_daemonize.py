"""Into the background, and what is told of it: to the caller, to a file, to systemd."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.daemonize import Background, is_supervised, pid_file
from faith.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

IN_BACKGROUND = """
import os, sys, time
from faith.daemon.process.daemonize import Background
background = Background.enter()
print("complaint", file=sys.stderr, flush=True)
if sys.argv[1] == "fails":
    sys.exit(1)
if sys.argv[1] == "dies":
    os.abort()
background.served()
with open(sys.argv[2], "w") as file:
    file.write(f"{os.getpid() == os.getsid(0)} {os.getcwd()} {os.readlink('/proc/self/fd/2')}")
"""


def run(manner: str, file: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IN_BACKGROUND, manner, file],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )


def test_the_caller_returns_once_we_serve(tmp_path: Path) -> None:
    fifo = tmp_path / "state"
    os.mkfifo(fifo)
    caller = run("serves", str(fifo))  # the pipe it blocks on is not in the caller's way
    assert (caller.returncode, caller.stderr) == (0, "complaint\n")
    assert fifo.read_text() == "False / /dev/null"


@pytest.mark.parametrize("manner", ["fails", "dies"])
def test_the_caller_fails_when_we_do(manner: str) -> None:
    caller = run(manner)
    assert (caller.returncode, caller.stderr) == (1, "complaint\n")


def test_the_foreground_stays_attached() -> None:
    before = os.fstat(2)
    background = Background()
    background.detach()
    background.served()
    assert os.path.samestat(os.fstat(2), before)


def test_a_pid_file_is_there_as_long_as_the_block(tmp_path: Path) -> None:
    file = tmp_path / "faithd.pid"
    with pid_file(file):
        assert file.read_text() == f"{os.getpid()}\n"
    assert not file.exists()
    with pid_file(None):
        pass


def test_a_pid_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SetupError, match=r"write .*/file/faithd\.pid: Not a directory"),
        pid_file(tmp_path / "file" / "faithd.pid"),
    ):
        pass


def test_the_directory_of_a_pid_file_is_made(tmp_path: Path) -> None:
    file = tmp_path / "run" / "faith" / "faithd.pid"
    with pid_file(file):
        assert file.read_text() == f"{os.getpid()}\n"
    assert not file.exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, False), ({"NOTIFY_SOCKET": "/x"}, True), ({"INVOCATION_ID": "1"}, True)],
)
def test_systemd_is_noticed(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    for name in ("NOTIFY_SOCKET", "INVOCATION_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_supervised() == expected
