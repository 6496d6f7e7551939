"""Compiled modules, when their sources change and look as if they had not."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

from faith.daemon.upgrade.bytecode import drop_stale


def write(source: Path, text: str) -> None:
    """All sources have the same time, in which they were not written."""
    source.parent.mkdir(exist_ok=True)
    source.write_text(text)
    os.utime(source, (10**9, 10**9))


def compiled(source: Path) -> Path:
    """Compile *source* as an import does, some time after it was written."""
    made = Path(py_compile.compile(str(source), doraise=True) or "")
    later = source.stat().st_ctime_ns + 10**9
    os.utime(made, ns=(later, later))
    return made


def printed(source: Path) -> str:
    command = [sys.executable, "-c", f"import package.{source.stem}"]
    done = subprocess.run(command, cwd=source.parents[1], capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_a_source_that_changed_unnoticed_is_compiled_again(tmp_path: Path) -> None:
    source = tmp_path / "package" / "module.py"
    write(source, "print('old')")
    before = compiled(source)
    os.utime(before, ns=(source.stat().st_ctime_ns,) * 2)
    write(source, "print('new')")
    assert printed(source) == "old", "or Python looks at more than size and time by now"
    assert drop_stale(source.parent) == []
    assert printed(source) == "new"


def test_what_is_newer_than_its_source_stays(tmp_path: Path) -> None:
    source = tmp_path / "package" / "module.py"
    write(source, "print('as it is')")
    write(source.with_name("never_compiled.py"), "")
    made = compiled(source)
    assert drop_stale(source.parent) == []
    assert made.exists()


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    source = tmp_path / "package" / "module.py"
    write(source, "")
    made = compiled(source)
    made.unlink()
    made.mkdir()
    os.utime(made, (10**9, 10**9))
    (error,) = drop_stale(source.parent)
    assert str(made) in str(error)
