"""The users of a proxy: a file of names, each with the hash of a password.

A line is ``NAME:HASH`` as ``faith proxy password NAME`` prints it; ``#`` begins a comment.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from faith.daemon.config import tried_files
from faith.daemon.config.readers import path
from faith.errors import ConfigError, raise_all

if TYPE_CHECKING:
    from typing import Any

LONGEST_NAME = 255
"""Octets of a name (RFC 1929 §2)."""
_HASH = re.compile(r"\$scrypt\$ln=\d+,r=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_ADVICE = "faith proxy password NAME makes a line"


def read(value: Any) -> dict[str, str]:
    """Read the users in the file that *value* names, and return their hashes by name.

    Raises ConfigError for all lines that are wrong.
    """
    file = path(value)
    try:
        found = tried_files.text(file)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}") from error
    if found is None:
        raise ConfigError(f"{file}: No such file or directory; {_ADVICE}")
    return _parsed(found, str(file))


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
    if not colon or not name:
        return f"this is not NAME:HASH; {_ADVICE}"
    if len(name.encode()) > LONGEST_NAME:
        return f"the name has more than {LONGEST_NAME} octets"
    if name in users:
        return f"{name} is there already"
    if not _HASH.fullmatch(hashed):
        return f"what {name} has is no hash of a password; {_ADVICE}"
    return ""
