"""Names of BPF objects in a file system of type bpf, by which they outlive a killed process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from faith.kernel import text_file
from faith.kernel.bpf import bpf

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


_MOUNTS = "/proc/self/mountinfo"


def is_bpf(directory: Path) -> bool:
    """Return whether *directory* is in a mounted file system of type bpf.  Raises SetupError."""
    found: dict[str, str] = {}
    for line in text_file.read_proc(_MOUNTS).splitlines():
        mount, _, kind = line.partition(" - ")
        found[mount.split()[4]] = kind.split()[0]
    there = directory.resolve()
    return next((found[str(at)] for at in (there, *there.parents) if str(at) in found), "") == "bpf"


class Pins:
    """The names, without dots, in *directory*, which is in a file system of type bpf.

    Methods raise OSError; the kernel refuses a dot by EPERM.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self.directory = str(directory)

    def prepare(self) -> None:
        """Make the directory, for root alone, and empty it."""
        self.clear()
        self._directory.mkdir(mode=0o700, parents=True)

    def add(self, name: str, thing: bpf.Object) -> None:
        """Give *thing* the name *name*."""
        bpf.pin(thing, str(self._directory / name))

    def get(self, name: str) -> int:
        """Return a descriptor of the object *name*."""
        return bpf.from_pin(str(self._directory / name))

    def remove(self, name: str) -> None:
        """Remove the name *name*, if it is there."""
        (self._directory / name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Return all names."""
        return (each.name for each in self._directory.iterdir())

    def clear(self) -> None:
        """Remove all names and the directory: what only they kept ends."""
        if self._directory.exists():
            shutil.rmtree(self._directory)
