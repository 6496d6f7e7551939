from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from faith.cli.setup import writing
from faith.errors import FaithError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_written_for_all_to_read_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    writing.refuse(file, force=False)
    writing.write(file, "mine: é", force=False)
    assert file.read_text(encoding="utf-8") == "mine: é"
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_one_that_comes_meanwhile_stays_too(tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    writing.refuse(file, force=False)
    file.write_text("somebody's")
    with pytest.raises(FaithError, match="exists: name another file"):
        writing.write(file, "mine", force=False)
    assert file.read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [file]


def test_one_that_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    file.write_text("somebody's")
    with pytest.raises(FaithError, match="--force"):
        writing.refuse(file, force=False)
    writing.refuse(file, force=True)
    writing.write(file, "mine", force=True)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaithError, match="no is no directory"):
        writing.refuse(tmp_path / "no" / "faith.toml", force=True)
    with pytest.raises(FaithError, match=r"faith\.toml: No such file"):
        writing.write(tmp_path / "no" / "faith.toml", "mine", force=True)


def test_a_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(FaithError, match="is not writable for this user; use sudo"):
        writing.refuse(tmp_path / "faith.toml", force=False)


def test_what_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FaithError, match="No space left"):
        writing.write(tmp_path / "faith.toml", "mine", force=False)
    assert list(tmp_path.iterdir()) == []
