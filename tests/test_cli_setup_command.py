"""The command ``faith setup``, from its first question to the file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from faith.cli import faith
from faith.cli.setup import setup_command
from faith.daemon.config import config
from faith.kernel.netlink import routes
from faith.kernel.sockets import tcp_sysctls
from tests.setup_host import be_the_kernel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    be_the_kernel(monkeypatch)
    advice = ["sysctl -w net.ipv4.tcp_tw_reuse=1: at 2, ports stay taken"]
    monkeypatch.setattr(tcp_sysctls, "advice", lambda: advice)


def test_it_writes_and_tells_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faith.toml"
    assert faith.main(["setup", "--defaults", str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(file.read_text())
    assert f"{file} is written.  What comes next:\n" in printed
    following = printed.partition("What comes next:\n")[2]
    commands = [line.partition("  #")[0].strip() for line in following.splitlines()]
    assert commands == [
        "sysctl -w net.ipv4.tcp_tw_reuse=1",
        "printf '%s\\n' net.ipv4.tcp_tw_reuse=1 >/etc/sysctl.d/60-faith.conf",
        f"faith check {file}",
        f"faithd --config {file}",
        "faith status",
        "curl http://[::1]:9064/readyz",
    ]
    assert "Their name server: [2001:db8:6::1]:53, [fd00:6::1]:53, [fd00:6::5]:53" in printed
    config.load(file)
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_without_names_it_tells_the_servers_mapped_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n" * 12 + "no\n192.0.2.53\n\n\n\n\n"))
    assert faith.main(["setup", str(tmp_path / "faith.toml")]) == 0
    told = capsys.readouterr()
    assert "The name server 192.0.2.53 has the address 64:ff9b:1::c000:235 for them." in told.out


def test_it_asks_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "faith.toml"
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("x\n64:ff9b::/96\n99999\n80\n" + "\n" * 17 + "ja\nyes\n")
    )
    assert faith.main(["setup", str(file)]) == 0
    told = capsys.readouterr().err
    assert told.startswith("An empty answer takes what is proposed in brackets")
    assert told.count("Prefix [64:ff9b:1::/96]: ") == 2
    assert "port 99999 is not between 1 and 65535" in told
    assert "  yes or no" in told
    assert str(config.load(file).ports) == "80"


@pytest.mark.parametrize(
    ("answers", "status"), [("\n" * 18, 1), ("\n" * 19 + "no\n", 1), ("\n" * 19 + "N\n", 1)]
)
def test_what_is_not_agreed_to_is_not_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answers: str,
    status: int,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    assert faith.main(["setup", str(tmp_path / "faith.toml")]) == status
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_print_only_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["setup", "--defaults", "--print", str(tmp_path / "nowhere" / "file")]) == 0
    told = capsys.readouterr()
    config.read(told.out, "faith.toml")
    assert told.err == ""  # nothing is asked
    assert not list(tmp_path.iterdir())


def test_what_exists_stays_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faith.toml"
    file.write_text("mine")
    assert faith.main(["setup", "--defaults", str(file)]) == 1
    assert "exists: name another file, or replace it" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert faith.main(["setup", "--defaults", "--force", str(file)]) == 0
    config.load(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_is_none_is_told_before_any_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faith.main(["setup", str(tmp_path / "no" / "faith.toml")]) == 1
    assert "no is no directory" in capsys.readouterr().err


def test_what_is_proposed_may_not_do_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(routes, "conflicts", lambda prefix: "it is somebody's")
    assert faith.main(["setup", "--defaults", str(tmp_path / "faith.toml")]) == 2
    assert "Prefix: 64:ff9b:1::/96 cannot be reserved here" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "udp"), [("y", True), ("Yes", True), ("N", False), ("NO", False)])
def test_y_and_n_are_answers_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, udp: bool
) -> None:
    file = tmp_path / "faith.toml"
    words = "\n" * 8 + f"{said}\n" + ("\n" if udp else "") + "\n" * 9 + "Y\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(words))
    assert faith.main(["setup", str(file)]) == 0
    assert (config.load(file).udp is not None) == udp


def test_metrics_and_user_are_proposed_and_none_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faith.toml"
    words = "\n" * 17 + "None\nroot\nyes\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(words))
    assert faith.main(["setup", str(file)]) == 0
    assert "Metrics [[::1]:9064]: " in capsys.readouterr().err
    settings = config.load(file)
    assert (settings.metrics, settings.user) == (None, "root")


def test_the_file_that_is_written_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faith.toml"
    assert faith.main(["setup", "--defaults", str(file)]) == 0
    capsys.readouterr()
    assert faith.main(["check", "--elsewhere", str(file)]) == 0
    found = capsys.readouterr().out
    assert "metrics  on ::1 port 9064" in found
    assert "warning" not in found


def test_the_units_are_for_the_file_that_they_read() -> None:
    commands = [command for command, _ in setup_command._commands(setup_command.UNIT_READS, {})]
    assert "systemctl enable --now faithd" in commands
    assert not [command for command in commands if command.startswith("curl")]
