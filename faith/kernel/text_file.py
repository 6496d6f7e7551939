"""Text files: those of this program, of other programs, and of proc(5)."""

from __future__ import annotations

import errno
import os

from faith.errors import ConfigError, SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    File = str | PathLike[str]

_MARK = "\ufeff"
"""The byte order mark that some editors begin a file with."""
_HINTS = {
    errno.EISDIR: "name a file",
    errno.EACCES: "let the user who starts this program read it",
}


def read(file: File) -> str:
    """Return the text of *file*: UTF-8 without its byte order mark, each line ended by a newline.

    Raises FileNotFoundError, and ConfigError, with the line where there is one, for a file that
    cannot be read or is not text.
    """
    try:
        octets = _octets(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = _HINTS.get(error.errno or 0)
        said = f"{error.strerror}; {hint}" if hint else str(error.strerror)
        raise ConfigError(said, str(file)) from error
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        what = f"octet 0x{octets[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise _not_text(what, file, octets, error.start) from None
    if "\0" in text:
        what = "there is a NUL octet; delete it, or save the file as UTF-8"
        raise _not_text(what, file, octets, octets.index(0))
    return _lines(text)


def read_leniently(file: File) -> str:
    """Return the text of a *file* as :func:`read` does, but with U+FFFD for what is not UTF-8.

    Raises OSError.
    """
    return _lines(_octets(file).decode(errors="replace"))


def read_proc(file: File) -> str:
    """Return the text of a *file* of proc(5).  Raises SetupError."""
    try:
        return _octets(file).decode(errors="replace")
    except OSError as error:
        raise SetupError(f"read {file}", str(error.strerror), "mount proc on /proc") from error


def state(file: File) -> tuple[int, ...]:
    """Return numbers that change with the content of *file*.  Raises OSError."""
    found = os.stat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _octets(file: File) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


def _lines(text: str) -> str:
    return text.removeprefix(_MARK).replace("\r\n", "\n").replace("\r", "\n")


def _not_text(what: str, file: File, octets: bytes, at: int) -> ConfigError:
    line = _lines(octets[:at].decode()).count("\n") + 1
    return ConfigError(f"not a text file: {what}", str(file), line)
