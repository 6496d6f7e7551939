"""The units of contrib/systemd: sound, confined, and with commands that the programs take."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from faith.cli import faith, serve
from faith.translation.ports import Ports
from tests.units import CONTRIB, INSTANCES, UNITS, command, unescape, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Need = Callable[[str], str]

THRESHOLD = 30
"""Tenths of what ``systemd-analyze security`` may give."""
LIMIT = 30

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
each_service = pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name
)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=LIMIT)


def install(directory: Path) -> None:
    """All units, instances of the templates among them, with a program that is there."""
    program = directory / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS:
        text = unit.read_text()
        for name in ("faithd", "faith"):
            text = text.replace(f"/usr/local/bin/{name} ", f"{program} ")
        (directory / unit.name).write_text(text)
        (directory / instance(unit.name)).write_text(text)


def instance(unit: str) -> str:
    return unit.replace("@.", f"@{INSTANCES.get(unit, '')}.")


@each_unit
def test_a_unit_is_sound(unit: Path, tmp_path: Path, need: Need) -> None:
    install(tmp_path)
    # A colon in the name would mean an alias here; and a socket's instance must be a port.
    installed = tmp_path / (instance(unit.name) if unit.suffix == ".socket" else unit.name)
    done = run(need("systemd-analyze"), "--man=no", "verify", installed)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


def exposure(need: Need, unit: Path) -> subprocess.CompletedProcess[str]:
    """The judgement of the service; its exit status tells whether it is exposed too much."""
    words = ["--offline=true", f"--threshold={THRESHOLD}", "--no-pager"]
    return run(need("systemd-analyze"), "security", *words, unit)


@pytest.mark.parametrize("unit", ["faithd.service", "faithd@.service", "faith-dns.service"])
def test_a_worker_that_memory_ran_out_for_does_not_end_the_others(unit: str) -> None:
    assert values(unit, "OOMPolicy") == ["continue"]


DAEMONS = pytest.mark.parametrize(
    "unit", ["faithd.service", "faithd@.service", "faith-dns.service"]
)


@DAEMONS
def test_a_start_that_fails_is_tried_again_without_end(unit: str) -> None:
    assert values(unit, "Restart") == ["on-failure"], "a drained one stays down"
    assert values(unit, "StartLimitIntervalSec") == ["0"]
    (pause,) = values(unit, "RestartSec")
    assert 1 <= int(pause) <= 5
    text = (CONTRIB / unit).read_text()
    assert text.index("StartLimitIntervalSec") < text.index("[Service]"), "elsewhere it is ignored"


@DAEMONS
def test_none_waits_for_links_that_may_never_come(unit: str) -> None:
    assert "network.target" in values(unit, "After")[0].split()
    assert "network-online.target" not in " ".join(values(unit, "After") + values(unit, "Wants"))


@pytest.mark.parametrize("unit", ["faithd.service", "faithd@.service"])
def test_workers_outlive_a_supervisor_that_dies(unit: str) -> None:
    assert values(unit, "KillMode") == ["process"]


@each_service
def test_a_service_is_confined(unit: Path, need: Need) -> None:
    done = exposure(need, unit)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_that_is_not_would_be_noticed(tmp_path: Path, need: Need) -> None:
    unit = tmp_path / "faithd.service"
    unit.write_text("[Service]\nExecStart=/usr/local/bin/faithd telnet\n")
    assert exposure(need, unit).returncode != 0


@pytest.mark.parametrize("unit", ["faithd.service", "faithd@.service", "faith-dns.service"])
def test_the_journal_takes_every_record(unit: str) -> None:
    assert values(unit, "LogRateLimitIntervalSec") == ["1s"]
    (burst,) = values(unit, "LogRateLimitBurst")
    assert int(burst) >= 20_000, "some thousand sessions a second, with their starts"


@pytest.mark.parametrize("name", INSTANCES.values())
def test_instances_are_written_as_systemd_escape_does(name: str, need: Need) -> None:
    assert run(need("systemd-escape"), unescape(name)).stdout == f"{name}\n"


def test_faithd_takes_its_commands() -> None:
    parser = serve._parser()
    options = parser.parse_args(command("faithd.service")[1:])
    assert str(options.config) == command("faithd.service", "ExecStartPre")[-1]
    options = parser.parse_args(command("faithd@.service")[1:])
    assert serve._settings(options).ports == Ports.parse("80,8000-8100", socket.getservbyname)
    assert command("faith-inetd@.service")[1:] == ["--inetd"]


@pytest.mark.parametrize(
    ("unit", "key"),
    [
        ("faith-prefix@.service", "ExecStart"),
        ("faith-prefix@.service", "ExecStop"),
        ("faith-dns.service", "ExecStart"),
        ("faithd.service", "ExecReload"),
        ("faithd.service", "ExecStartPre"),
    ],
)
def test_faith_takes_its_commands(unit: str, key: str) -> None:
    program, *words = command(unit, key)
    assert program == "/usr/local/bin/faith"
    # An unknown option is an error even so.
    result = CliRunner().invoke(faith.app, [*words, "--help"])
    assert result.exit_code == 0, result.output


def test_user_and_directory_are_made(tmp_path: Path, need: Need) -> None:
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    done = run(need("systemd-sysusers"), root, CONTRIB / "sysusers.d/faith.conf")
    assert done.returncode == 0, done.stderr
    assert "\nfaith:x:" in "\n" + (tmp_path / "etc/passwd").read_text()
    done = run(need("systemd-tmpfiles"), root, "--create", CONTRIB / "tmpfiles.d/faith.conf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/faith").stat().st_mode & 0o777 == 0o755
