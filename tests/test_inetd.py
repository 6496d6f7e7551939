"""Inetd mode's command line, and what it does when no inetd started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import faith
from faith.errors import ConfigError, SetupError
from faith.relay.inetd import inetd


def test_defaults() -> None:
    options = inetd.parse([])
    assert not options.debug
    assert not options.reserved_port
    assert options.conf == ""
    assert options.connect_timeout == 10
    assert options.idle_timeout == 7440
    assert options.half_closed_timeout == 300
    assert options.server == []


def test_options_end_where_the_server_begins() -> None:
    words = ["-dp", "-f", "conf", "--idle-timeout=5", "--proxy", "v2", "ftpd", "-l", "--help"]
    options = inetd.parse(words)
    assert options.debug
    assert options.reserved_port
    assert options.conf == "conf"
    assert options.idle_timeout == 5
    assert options.proxy == "v2"
    assert options.server == ["ftpd", "-l", "--help"]
    assert not options.help


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-x"], "-x is not an option of inetd mode"),
        (["-dx"], "-x is not an option"),
        (["-"], "- is not an option"),
        (["--debug"], "--debug is not an option"),
        (["-f"], "-f needs a value"),
        (["--connect-timeout", "-1"], "--connect-timeout -1: give seconds"),
        (["--proxy", "v3"], "--proxy v3: give one of v1, v2"),
        (["--connect-timeout=nan"], "--connect-timeout nan: give seconds"),
    ],
)
def test_wrong_options(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        inetd.parse(words)


def test_server_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = tmp_path / "libexec", tmp_path / "sbin"
    monkeypatch.setattr(inetd, "SERVER_DIRECTORIES", (str(first), str(second)))
    for directory, mode in ((first, 0o644), (second, 0o755)):
        directory.mkdir()
        (directory / "telnetd").touch(mode)
    assert inetd.find("telnetd") == f"{second}/telnetd"
    assert inetd.find("./telnetd") == "./telnetd"
    with pytest.raises(SetupError, match=f"executing local ftpd: not in {first}, {second}"):
        inetd.find("ftpd")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faith.relay.inetd.inetd", *words],
        cwd=Path(faith.__file__).parents[1],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help() -> None:
    result = run("--help")
    assert result.stdout == inetd.USAGE
    assert result.returncode == 0


def test_without_a_connection() -> None:
    result = run()
    assert result.stdout == result.stderr == ""  # this might be a client
    assert result.returncode == 1
