"""The file of static maps: read, and written to, a map more or a map less."""

from __future__ import annotations

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
    """The maps in the file *path*.  Raises ConfigError, naming file and line."""
    return static_map.parse(text(path), str(path))


def text(path: Path) -> str:
    """What is in it.  Raises ConfigError."""
    try:
        return tried_files.text(path)
    except FileNotFoundError:
        raise ConfigError("no such file (one that is empty will do)", str(path)) from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error), str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"not a text file: {error.reason}", str(path)) from error


def more(text: str, one: Map) -> str:
    """The *text* of a file with the map *one*, which is to be behind all that it has.

    The text is what it is now, not what the daemon has read.  Raises ConfigError if it is no such
    file any more, or says otherwise.
    """
    there = static_map.parse(text, one.file)
    if one in there:
        return text
    Maps([*there, one])
    end = "\n" if text and not text.endswith("\n") else ""
    return f"{text}{end}{one}\n"


def less(text: str, one: Map) -> str:
    """The *text* of a file without the map *one*; the rest stays as it is written.

    Raises ConfigError if it is no such file any more.
    """
    there = {other.line for other in static_map.parse(text, one.file) if other == one}
    lines = enumerate(text.splitlines(keepends=True), 1)
    return "".join(line for number, line in lines if number not in there)


@contextmanager
def rewritten(path: Path, text: str) -> Iterator[None]:
    """*path* has *text* when the block has ended well, else it stays as it was.

    Raises SetupError.
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
        raise SetupError(f"write {path}", error.strerror or str(error)) from error
