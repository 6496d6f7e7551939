"""The command ``faith setup``, from its first question to the file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from faith.cli import faith
from faith.daemon.config import config
from faith.kernel.netlink import routes
from tests.setup_host import be_the_kernel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    be_the_kernel(monkeypatch)


def test_it_writes_and_tells_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faith.toml"
    assert faith.main(["setup", "--defaults", str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(file.read_text())
    assert printed.endswith(f"The next command: faithd --config {file}\n")
    assert "Their name server: [2001:db8:6::1]:53, [fd00:6::1]:53, [fd00:6::5]:53" in printed
    config.load(file)
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_without_names_it_tells_the_servers_mapped_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n" * 12 + "no\n192.0.2.53\n\n"))
    assert faith.main(["setup", str(tmp_path / "faith.toml")]) == 0
    told = capsys.readouterr()
    assert "The name server 192.0.2.53 has the address 64:ff9b:1::c000:235 for them." in told.out


def test_it_asks_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "faith.toml"
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("x\n64:ff9b::/96\n99999\n80\n" + "\n" * 14 + "ja\nyes\n")
    )
    assert faith.main(["setup", str(file)]) == 0
    told = capsys.readouterr().err
    assert told.startswith("An empty answer takes what is proposed in brackets")
    assert told.count("Prefix [64:ff9b:1::/96]: ") == 2
    assert "port 99999 is not between 1 and 65535" in told
    assert "  yes or no" in told
    assert str(config.load(file).ports) == "80"


@pytest.mark.parametrize(("answers", "status"), [("\n" * 15, 1), ("\n" * 16 + "no\n", 1)])
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
