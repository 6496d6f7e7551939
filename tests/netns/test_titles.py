"""Every process of a daemon says in ps(1) what it does, and pgrep(1) finds it, upgraded as well."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import Faithd

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

ALL = f"""\
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "2323"
[[service]]
ports = "2424"
path = "auto"
[udp]
[ping]
[dns]
listen = ["[::1]:5353"]
forward = ["192.0.2.80"]
workers = 2
[metrics]
listen = "[::1]:9064"
"""
ROLES = ["admin", "dns 1", "dns 2", "flows", "ping", "udp", "worker 1", "worker 2"]


def titles(faithd: Faithd) -> list[str]:
    return sorted(title(pid) for pid in [faithd.process.pid, *faithd.workers])


def title(pid: int | str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def found_by_pgrep(faithd: Faithd) -> bool:
    found = subprocess.run(["pgrep", "-x", "faithd"], capture_output=True, text=True, check=False)
    return {faithd.process.pid, *faithd.workers} <= {*map(int, found.stdout.split())}


@pytest.mark.usefixtures("bpf_allowed", "real_root")
def test_every_process_shows_its_role_after_an_upgrade_too(lab: ThreeHosts, tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(f'control = "{tmp_path}/control"\n{ALL}')
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file))
    faithd.wait_said("serving", seconds=30)
    supervisor = f"faithd: supervisor -F --config {file}"
    wanted = sorted([supervisor, *(f"faithd: {role}" for role in ROLES)])
    assert titles(faithd) == wanted
    assert found_by_pgrep(faithd)
    before = faithd.workers
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=30)
    wait_until(lambda: not {*before} & {*faithd.workers}, 30, "the old processes end")
    assert titles(faithd) == wanted
    assert found_by_pgrep(faithd)
    assert faithd.stop(30) == 0
    lines = [line for line in faithd.said.splitlines() if re.match(r"\d{4}-", line)]
    assert lines
    assert {line.split()[2].partition("[")[0] for line in lines} == {"faithd"}


def test_the_name_server_is_faith_dns(lab: ThreeHosts, tmp_path: Path) -> None:
    words = ["dns", "-p", PREFIX, "--listen", "[::1]:5353", "--forward", "192.0.2.80"]
    process = lab.gateway.popen([sys.executable, "-m", "faith.cli.faith", *words])
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: bool(children.read_text().split()), 10, "a worker")
        (child,) = children.read_text().split()
        wait_until(lambda: title(child) == "faith: dns 1", 10, "its role")
        assert title(process.pid).startswith(f"faith: dns supervisor -p {PREFIX}")
    finally:
        process.terminate()
        assert process.wait(10) == 0
