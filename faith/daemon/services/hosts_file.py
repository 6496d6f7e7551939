"""The file hosts(5): addresses of names that this host knows without asking anybody."""

from __future__ import annotations

from faith.kernel import text_file
from faith.translation.address import number

HOSTS = "/etc/hosts"
MOST_ADDRESSES = 16
"""Addresses of one family that a name has; others are left out."""


class HostsFile:
    """The file hosts(5), read again when it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._state: tuple[int, ...] | None = None
        self._names: dict[str, dict[int, tuple[str, ...]]] = {}

    def addresses(self, name: str) -> dict[int, tuple[str, ...]] | None:
        """Return the addresses of *name* by family, or None where the file does not have it."""
        try:
            state = text_file.state(self._path)
        except OSError:
            state = None
        if state != self._state:
            self._state, self._names = state, self._read()
        return self._names.get(name)

    def _read(self) -> dict[str, dict[int, tuple[str, ...]]]:
        try:
            lines = text_file.read_leniently(self._path).split("\n")
        except OSError:
            return {}
        names: dict[str, dict[int, tuple[str, ...]]] = {}
        for line in lines:
            address, *called = line.partition("#")[0].split() or [""]
            family = _family(address)
            for name in called if family else ():
                known = names.setdefault(name.lower().rstrip("."), {})
                some = known.get(family, ())
                if address not in some and len(some) < MOST_ADDRESSES:
                    known[family] = (*some, address)
        return names


def _family(address: str) -> int:
    """Return 4 or 6, the version of an address, or 0 for what is none; one with a zone is none."""
    try:
        number(address)
    except (OSError, ValueError):
        return 0
    if "%" in address:
        return 0
    return 6 if ":" in address else 4
