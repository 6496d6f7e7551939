"""The compiled modules of the installed program, which may be older than their sources."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def drop_stale(package: Path) -> list[OSError]:
    """Remove the compiled modules of *package* that may not be of their sources as they are now.

    Python uses a compiled module if its source has the size and the modification time, in whole
    seconds, of the one that was compiled.  Both stay the same when a source changes twice within a
    second, and when whoever installs it sets the time, as rsync and images built reproducibly do.
    Nobody sets the time of the last change of the inode (st_ctime): what was compiled before that
    is removed.  Returns why any could not be.
    """
    failed = []
    for compiled in _stale(package):
        try:
            compiled.unlink()
        except OSError as error:
            failed.append(error)
    return failed


def _stale(package: Path) -> Iterator[Path]:
    for source in package.rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(source))
        with suppress(FileNotFoundError):
            if compiled.stat().st_mtime_ns <= source.stat().st_ctime_ns:
                yield compiled
