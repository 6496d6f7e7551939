"""Files that were read on trial are what the next program starts by."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config import tried_files
from faith.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tried_files, "_recorded", None)
    yield
    tried_files.forget()


@pytest.fixture
def tried() -> Iterator[int]:
    """An empty file in memory."""
    descriptor = os.memfd_create("tried")
    yield os.dup(descriptor)
    os.close(descriptor)


def test_a_file_is_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    assert tried_files.text(file) is None
    file.write_text("one")
    assert tried_files.text(file) == "one"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError):
        tried_files.text(file)


def test_a_file_stays_what_it_was_on_trial(tmp_path: Path, tried: int) -> None:
    file, none, other = (tmp_path / name for name in ("faith.toml", "none", "other"))
    file.write_text("é\n")
    other.write_text("before the trial")
    tried_files.text(other)
    tried_files.record()
    tried_files.text(file)
    tried_files.text(none)
    tried_files.save(tried)
    file.unlink()
    for changed in (none, other):
        changed.write_text("now")
    tried_files.reuse(tried)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(tried)
    assert [tried_files.text(path) for path in (file, none, other)] == ["é\n", None, "now"]
    tried_files.forget()
    assert [tried_files.text(path) for path in (file, none)] == [None, "now"]


def test_without_a_trial_nothing_is_reused(tmp_path: Path, tried: int) -> None:
    file = tmp_path / "faith.toml"
    file.write_text("now")
    tried_files.reuse(tried)
    assert tried_files.text(file) == "now"


def test_a_needed_file_is_named_with_the_advice(tmp_path: Path) -> None:
    file = tmp_path / "users"
    with pytest.raises(ConfigError, match=r"users: No such file or directory; make one$"):
        tried_files.needed(file, "make one")
    file.write_bytes(b"\0")
    with pytest.raises(ConfigError, match=r"users: not a text file"):
        tried_files.needed(file)
    file.write_text("ann\n")
    assert tried_files.needed(file) == "ann\n"
