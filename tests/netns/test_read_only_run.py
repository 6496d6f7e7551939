"""A host whose /run cannot be written to: the daemon serves, and its sockets can be elsewhere."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT, Faithd

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]

READ_ONLY = (
    *("unshare", "--mount", "sh", "-c"),
    'mount -t tmpfs -o ro none /run && exec "$@"',
    "sh",
)
FILE = f'workers = 1\n[[prefix]]\naddress = "{PREFIX}"\n[[service]]\nports = "2323"\n'


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="faith-") as name:
        yield Path(name)


def faith(lab: ThreeHosts, *words: str, **environment: str) -> str:
    done: subprocess.CompletedProcess[str] = lab.gateway.run(
        [sys.executable, "-m", "faith.cli.faith", *words],
        env={**ENVIRONMENT, **environment},
        check=False,
    )
    return done.stdout + (done.stderr or "")


def test_a_daemon_serves_without_its_sockets_and_says_so(lab: ThreeHosts, tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(FILE)
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file), by=READ_ONLY)
    faithd.wait_said("serving")
    assert "no control socket: listen on /run/faith/control.sock: Read-only file system" in (
        faithd.said
    )
    assert "cannot find this one: /run/faith: Read-only file system" in faithd.said
    assert "FAITH_RUNTIME_DIRECTORY" in faithd.said
    status = faith(lab, "status")
    assert f"the faithd with pid {faithd.process.pid} cannot be asked" in status
    assert "no faithd is running" not in status
    assert "killed" not in status
    explained = faith(lab, "explain", CLIENT, f"{SERVER}:2323")
    assert "it cannot be said" in explained
    assert "no-daemon" not in explained
    assert faithd.stop() == 0
    assert "Traceback" not in faithd.said


@pytest.mark.parametrize("variable", ["RUNTIME_DIRECTORY", "FAITH_RUNTIME_DIRECTORY"])
def test_its_sockets_can_be_elsewhere(
    lab: ThreeHosts, tmp_path: Path, short: Path, variable: str
) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(FILE)
    log, where = tmp_path / "log", {variable: str(short)}
    faithd = Faithd(lab.gateway, log, "--config", str(file), by=READ_ONLY, **where)
    faithd.wait_said("serving")
    assert "Read-only" not in faithd.said
    assert (short / "control.sock").is_socket()
    assert str(faithd.process.pid) in faith(lab, "status", **where)
    assert "in force" in faith(lab, "reload", **where)
    assert faithd.stop() == 0
    assert os.listdir(short) == []


def test_a_daemon_without_a_control_socket_is_found_all_the_same(
    lab: ThreeHosts, tmp_path: Path, short: Path
) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(f'control = "none"\n{FILE}')
    where = {"FAITH_RUNTIME_DIRECTORY": str(short)}
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file), **where)
    faithd.wait_said("serving")
    assert not (short / "control.sock").exists()
    assert "no control socket" not in faithd.said
    assert str(faithd.process.pid) in faith(lab, "status", **where)
    assert "no faithd with a control socket" in faith(lab, "sessions", **where)
    assert faithd.stop() == 0
