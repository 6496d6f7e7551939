"""Text files: each file that the program reads, in the states in which people leave them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import faith
from faith.cli import faith as command
from faith.cli import hosts
from faith.cli.setup import host_facts
from faith.dns import upstream_servers
from faith.errors import ConfigError, SetupError
from faith.kernel import text_file
from faith.relay.inetd import inetd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = b"\xef\xbb\xbf"
NOBODY = 65534
FILES = ("faith.toml", "rules", "maps")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A directory with a configuration of several files."""
    rules, maps = tmp_path / "rules", tmp_path / "maps"
    text = f"[maps]\nfile = '{maps}'\n[access]\nfile = '{rules}'\n[[service]]\nports = '80'\n"
    (tmp_path / "faith.toml").write_text(text)
    rules.write_text("::/0 permit 0.0.0.0/0\n")
    maps.write_text("198.51.100.1 2001:db8:a::1\n")
    return tmp_path


def checked(configuration: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the status and the errors of ``faith check``."""
    status = command.main(["check", str(configuration / "faith.toml")])
    return status, capsys.readouterr().err


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Read as a user who may not read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_and_the_ends_of_lines_make_no_difference(
    configuration: Path, capsys: pytest.CaptureFixture[str], name: str, end: bytes
) -> None:
    file = configuration / name
    file.write_bytes(MARK + file.read_bytes().replace(b"\n", end))
    assert checked(configuration, capsys) == (0, "")


def replaced(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda file: file.write_bytes(b"# \r\n# \xc3\xa4\n# \xe4\n"),
            ":3: not a text file: octet 0xe4 is not UTF-8; save the file as UTF-8",
        ),
        (
            lambda file: file.write_bytes("# x\n".encode("utf-16")),
            ":1: not a text file: octet 0xff is not UTF-8; save the file as UTF-8",
        ),
        (
            lambda file: file.write_bytes(b"# \n# \n#\0\n"),
            ":3: not a text file: there is a NUL octet; delete it, or save the file as UTF-8",
        ),
        (replaced, ": Is a directory; name a file"),
    ],
    ids=["latin1", "utf16", "nul", "directory"],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(
    configuration: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    spoil: Callable[[Path], object],
    says: str,
) -> None:
    spoil(configuration / name)
    assert checked(configuration, capsys) == (1, f"faith: {configuration / name}{says}\n")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there(
    configuration: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (configuration / name).unlink()
    status, told = checked(configuration, capsys)
    assert status == 1
    assert told.lower().startswith(f"faith: {configuration / name}: no such file")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    file.touch(mode=0)
    with without_rights(), pytest.raises(ConfigError) as told:
        text_file.read(file)
    hint = "let the user who starts this program read it"
    assert str(told.value) == f"{file}: Permission denied; {hint}"


def test_another_error_is_told_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match=r"/x/y: Not a directory$"):
        text_file.read(tmp_path / "x" / "y")


def test_a_mark_is_one_only_at_the_beginning(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(MARK + b"a" + MARK + b"\rb\r\n\r\nc")
    for read in (text_file.read, text_file.read_leniently):
        assert read(file) == "a\ufeff\nb\n\nc"


def test_the_files_of_others_have_what_can_be_read_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "resolv.conf"
    file.write_bytes(MARK + b"nameserver 192.0.2.53\n# \xe4\nnameserver 192.0.2.54\n")
    monkeypatch.setattr(upstream_servers, "RESOLV_CONF", file)
    found = [server.host for server in upstream_servers._of_the_system()]
    assert found == ["192.0.2.53", "192.0.2.54"]
    monkeypatch.setattr(host_facts, "RESOLV_CONF", file)
    assert host_facts._servers([]) == found
    file.write_bytes(MARK + b"192.0.2.80 www.example # \xe4\n")
    assert [entry.names for entry in hosts.entries(str(file))] == [("www.example",)]


def test_inetd_mode_takes_the_rules_that_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "faithd.conf"
    file.write_bytes(MARK + b"::/0 permit 0.0.0.0/0 # \xe4\n")
    assert len(inetd._access(str(file)).rules) == 1
    file.write_bytes(b"\n::/0 permit \xe4\n")
    with pytest.raises(ConfigError, match=f"^{file}:2: "):
        inetd._access(str(file))
    with pytest.raises(SetupError, match=f"^reading {tmp_path}: Is a directory$"):
        inetd._access(str(tmp_path))


def test_proc_is_missed_by_its_name() -> None:
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    comm.write_bytes(b"x\xe4")
    try:
        assert text_file.read_proc(comm) == "x\ufffd\n"
    finally:
        comm.write_bytes(before)
    with pytest.raises(SetupError, match=r"^read /proc/x: No such file.*\(mount proc on /proc\)$"):
        text_file.read_proc("/proc/x")


def test_nothing_else_reads_text() -> None:
    root = Path(faith.__file__).parent
    for file in root.rglob("*.py"):
        if file.relative_to(root).parts[0] != "lab":
            assert ".read_text(" not in file.read_text(), f"{file} is to use text_file"


def test_the_state_of_a_file_changes_with_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        text_file.state(file)
    file.write_text("one")
    before = text_file.state(file)
    assert text_file.state(file) == before
    file.write_text("three")
    assert text_file.state(file) != before
