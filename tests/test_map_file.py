"""The file of static maps: read, and written to."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config import map_file, static_map
from faith.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from pathlib import Path

    from faith.translation.map import Map

TEXT = """# Web servers
198.51.100.1 2001:db8::1   # the old one
198.51.100.2 2001:db8::2 protocols=tcp ports=80
"""


def one(line: str) -> Map:
    v4, v6, *options = line.split()
    return static_map.of_words(v4, v6, dict(word.split("=") for word in options), "maps")


@pytest.mark.parametrize(
    ("octets", "says"),
    [(None, r"no such file \(create an empty one"), (b"\xff", "not a text file")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, octets: bytes | None, says: str) -> None:
    file = tmp_path / "maps"
    if octets is not None:
        file.write_bytes(octets)
    with pytest.raises(ConfigError, match=says):
        map_file.read(file)
    with pytest.raises(ConfigError, match="Is a directory"):
        map_file.read(tmp_path)


def test_each_map_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "maps"
    file.write_text(TEXT)
    found = [(one.file, one.line) for one in map_file.read(file)]
    assert found == [(str(file), 2), (str(file), 3)]


def test_one_more_comes_behind_all() -> None:
    assert map_file.more("", one("198.51.100.3 2001:db8::3")) == "198.51.100.3 2001:db8::3\n"
    for text in (TEXT, TEXT.rstrip("\n")):
        added = map_file.more(text, one("198.51.100.3 2001:db8::3"))
        assert added == f"{TEXT}198.51.100.3 2001:db8::3\n"


def test_what_is_there_already_is_there_once() -> None:
    assert map_file.more(TEXT, one("198.51.100.1 2001:db8::1")) == TEXT


def test_one_less_leaves_the_rest_as_it_is() -> None:
    line = "198.51.100.2 2001:db8::2 ports=80 protocols=tcp"
    assert map_file.less(TEXT, one(line)).splitlines() == TEXT.splitlines()[:2]
    assert map_file.less(TEXT, one("198.51.100.2 2001:db8::2")) == TEXT


def test_the_file_may_be_another_by_now() -> None:
    new = one("198.51.100.1 2001:db8::9")
    with pytest.raises(ConfigError, match=r"2001:db8::1 already \(line 2\)"):
        map_file.more(TEXT, new)
    for change in (map_file.more, map_file.less):
        with pytest.raises(ConfigError, match=r"^maps:4: a map has two addresses"):
            change(f"{TEXT}nonsense", new)


def test_a_file_is_written_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, link = tmp_path / "maps", tmp_path / "link"
    file.write_text(TEXT)
    file.chmod(0o640)
    link.symlink_to(file)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    with map_file.rewritten(link, "new"):
        assert file.read_text() == TEXT
        (new,) = {*tmp_path.iterdir()} - {file, link}
        assert new.name.startswith(".maps.")
        assert synced == [len("new")]
    assert (file.read_text(), link.is_symlink()) == ("new", True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(tmp_path.iterdir()) == [link, file]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_stays_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "maps"
    file.touch()
    os.chown(file, 65534, 65533)
    with map_file.rewritten(file, "new"):
        pass
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65533)


def test_nothing_is_written_if_the_change_fails(tmp_path: Path) -> None:
    file = tmp_path / "maps"
    file.write_text(TEXT)
    with pytest.raises(ConfigError), map_file.rewritten(file, "new"):
        raise ConfigError("no")
    assert file.read_text() == TEXT
    assert [*tmp_path.iterdir()] == [file]


def test_what_keeps_it_from_being_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "maps"
    says = f"^write {file}: No such file"
    with pytest.raises(SetupError, match=says), map_file.rewritten(file, "new"):
        pytest.fail("it is not there")
