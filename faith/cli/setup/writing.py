"""Writing a file that exists either whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from faith.errors import FaithError


def refuse(file: Path, *, force: bool) -> None:
    """Raise FaithError if *file* could not be written, before any question is asked."""
    if not file.parent.is_dir():
        raise FaithError(f"{file.parent} is no directory; make it first, or name another file")
    if not os.access(file.parent, os.W_OK):
        raise FaithError(
            f"{file.parent} is not writable for this user; use sudo, or name another file"
        )
    if file.exists() and not force:
        raise _exists(file)


def write(file: Path, text: str, *, force: bool) -> None:
    """Write *text* to *file*, readable for all; an existing file is replaced with *force* only.

    Raises FaithError.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        written = Path(name)
        try:
            with open(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fchmod(descriptor, 0o644)
                os.fsync(descriptor)
            if force:
                written.replace(file)
            else:
                os.link(written, file)  # unlike a rename, it does not replace
        finally:
            written.unlink(missing_ok=True)
    except FileExistsError:
        raise _exists(file) from None
    except OSError as error:
        raise FaithError(f"{file}: {error.strerror}") from error


def _exists(file: Path) -> FaithError:
    return FaithError(f"{file} exists: name another file, or replace it with --force")
