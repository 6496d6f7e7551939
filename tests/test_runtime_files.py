from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.config.settings import Settings
from faith.daemon.host.runtime_files import RuntimeFiles

if TYPE_CHECKING:
    from pathlib import Path


def test_what_the_program_before_had_elsewhere_goes_and_what_is_ours_stays(tmp_path: Path) -> None:
    pid_file, control, before = (tmp_path / name for name in ("pid", "control", "old.pid"))
    for file in (pid_file, control, before):
        file.touch()
    left = RuntimeFiles(Settings((), pid_file=before, control=control)).state()
    RuntimeFiles(Settings((), pid_file=pid_file, control=control)).remove_others(left)
    assert sorted(tmp_path.iterdir()) == sorted((pid_file, control))


def test_one_that_is_gone_already_does_not_matter(tmp_path: Path) -> None:
    left = RuntimeFiles(Settings((), pid_file=tmp_path / "pid")).state()
    RuntimeFiles(Settings(())).remove_others(left)


def test_without_files_nothing_is_left() -> None:
    assert not RuntimeFiles(Settings(())).state()
