"""The users of a proxy: a file of names, each with the hash of a password.

A line is ``NAME:HASH`` as ``faith proxy password NAME`` prints it; ``#`` begins a comment.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from faith.daemon.config import tried_files
from faith.daemon.config.readers import path
from faith.errors import ConfigError, raise_all
from faith.proxy.password_hash import PasswordHash

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

LONGEST_NAME = 255
"""Octets of a name (RFC 1929 §2)."""
_ADVICE = "faith proxy password NAME makes a line"


def read(value: Any) -> dict[str, str]:
    """Read the users in the file that *value* names, and return their hashes by name.

    Raises ConfigError for all lines that are wrong.
    """
    file = path(value)
    return _parsed(tried_files.needed(file, _ADVICE), str(file))


def is_open(file: Path) -> bool:
    """Return whether users of this host without any right of their own can read or write *file*.

    Where it is cannot be seen, as in a sandbox, it is not.
    """
    try:
        file = file.resolve()
        reached = all(parent.stat().st_mode & stat.S_IXOTH for parent in file.parents)
        return reached and bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False


def _parsed(text: str, file: str) -> dict[str, str]:
    users: dict[str, str] = {}
    errors = []
    for number, line in enumerate(text.split("\n"), 1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        name, colon, hashed = written.partition(":")
        if why := _wrong(name, colon, hashed, users):
            errors.append(ConfigError(f"{file}: line {number}: {why}"))
        users[name] = hashed
    raise_all(errors)
    if not users:
        raise ConfigError(f"{file}: there is no user in it; {_ADVICE}")
    return users


def _wrong(name: str, colon: str, hashed: str, users: dict[str, str]) -> str:
    """Return why a line is wrong, without anything of a password that it may have, or ""."""
    if not colon:
        return f"this is not NAME:HASH; {_ADVICE}"
    try:
        check_name(name)
        if name in users:
            return f"{name} is there already"
        PasswordHash.parse(hashed)
    except ConfigError as error:
        return error.message
    return ""


def check_name(name: str) -> None:
    """Raise ConfigError for what cannot be the name of a user."""
    if not name or name != name.strip() or not name.isprintable():
        raise ConfigError(f"{name!r} is no name of a user")
    if ":" in name or name.startswith("#"):
        raise ConfigError(f"{name}: the name of a user has no colon, and does not begin with #")
    if len(name.encode()) > LONGEST_NAME:
        raise ConfigError(f"the name has more than {LONGEST_NAME} octets")
