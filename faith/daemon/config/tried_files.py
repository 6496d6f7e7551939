"""The texts of the files that settings are read from, for an upgrade.

What a program on trial has read, the program that is executed then starts by: a file that is
removed or half written in between is of no consequence until it is to be read again.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from faith.errors import ConfigError
from faith.kernel import text_file

if TYPE_CHECKING:
    from pathlib import Path

    Texts = dict[str, str | None]
    """By path; None where there is no such file."""

_recorded: Texts | None = None
_tried: Texts = {}


def text(path: Path) -> str | None:
    """Return the text of a file, or what it was on trial, or None where there is no such file.

    Raises ConfigError.
    """
    name = str(path)
    if name in _tried:
        return _tried[name]
    try:
        found: str | None = text_file.read(path)
    except FileNotFoundError:
        found = None
    if _recorded is not None:
        _recorded[name] = found
    return found


def needed(path: Path, advice: str = "") -> str:
    """Return the text of a file that a setting names, as `text` does.

    Raises ConfigError, which names the file, and has the *advice* where there is none.
    """
    try:
        found = text(path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from error
    if found is None:
        missing = f"{path}: No such file or directory"
        raise ConfigError(f"{missing}; {advice}" if advice else missing)
    return found


def record() -> None:
    """Note from now on what is read."""
    global _recorded
    _recorded = {}


def save(descriptor: int) -> None:
    """Write what was noted to an empty file."""
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        json.dump(_recorded, file)


def reuse(descriptor: int) -> None:
    """Have `text` return what another process has saved there, until `forget`; close the file."""
    global _tried
    octets = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    _tried = json.loads(octets) if octets else {}


def forget() -> None:
    """Read the files themselves from now on."""
    global _tried
    _tried = {}
