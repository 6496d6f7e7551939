"""The map file: its maps, and its text with a map added or removed."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from faith.daemon.config import static_map, tried_files
from faith.errors import ConfigError, SetupError
from faith.translation.map_table import Maps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.translation.map import Map


def read(path: Path) -> list[Map]:
    """Return the maps in the file *path*.  Raises ConfigError, naming file and line."""
    return static_map.parse(text(path), str(path))


def text(path: Path) -> str:
    """Return the text of the file *path*.  Raises ConfigError."""
    found = tried_files.text(path)
    if found is None:
        what = "no such file (create an empty one if there are no maps yet)"
        raise ConfigError(what, str(path))
    return found


def more(text: str, one: Map) -> str:
    """Return the *text* of a map file with the map *one* appended, unless it is there already.

    *text* is what the file has now, not what the daemon has read.  Raises ConfigError if it is no
    valid map file any more, or contradicts *one*.
    """
    there = static_map.parse(text, one.file)
    if one in there:
        return text
    Maps([*there, one])
    end = "\n" if text and not text.endswith("\n") else ""
    return f"{text}{end}{one}\n"


def less(text: str, one: Map) -> str:
    """Return the *text* of a map file without the map *one*; the rest stays as it is written.

    Raises ConfigError if it is no valid map file any more.
    """
    there = {other.line for other in static_map.parse(text, one.file) if other == one}
    lines = enumerate(io.StringIO(text), 1)
    return "".join(line for number, line in lines if number not in there)


@contextmanager
def rewritten(path: Path, text: str) -> Iterator[None]:
    """Replace the content of *path* by *text* if the block ends without an error, else keep it.

    The new text is written before the block begins.  Raises SetupError.
    """
    real = path.resolve()
    try:
        before = real.stat()
        descriptor, new = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, before.st_mode & 0o777)
                os.fchown(descriptor, before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            yield
            os.replace(new, real)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(new)
            raise
    except OSError as error:
        hint = "the daemon must be able to write to the directory of that file"
        raise SetupError(f"write {path}", str(error.strerror), hint) from error
