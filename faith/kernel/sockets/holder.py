"""The process that listens on a port, for the error message when the port is taken."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp6


def holder(port: int) -> str:
    """Return a process that listens on TCP *port* over IPv6, as ``name (pid 7)``.

    Only listeners of this network namespace are looked at.
    Empty when there is none, or none that this process may inspect.
    """
    with suppress(OSError):
        sockets = {f"socket:[{inode}]" for inode in _listening(port)}
        if sockets:
            for process in Path("/proc").glob("[0-9]*"):
                if _holds(process, sockets):
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _listening(port: int) -> list[str]:
    """Return the inodes of the listeners in this thread's network namespace."""
    lines = Path("/proc/thread-self/net/tcp6").read_text().splitlines()[1:]
    rows = (line.split() for line in lines)
    ending = f":{port:04X}"
    return [row[9] for row in rows if row[1].endswith(ending) and row[3] == _LISTEN]


def _holds(process: Path, sockets: set[str]) -> bool:
    with suppress(OSError), os.scandir(process / "fd") as descriptors:
        return any(_target(descriptor) in sockets for descriptor in descriptors)
    return False


def _target(link: os.DirEntry[str]) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed in the meantime
        return ""
