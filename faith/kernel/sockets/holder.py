"""The process that has a port, for the error message when the port is taken."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from contextlib import suppress
from pathlib import Path

from faith.kernel import text_file

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp6
_TABLES: dict[int, tuple[str, str]] = {
    socket.SOCK_STREAM: ("tcp", "tcp6"),
    socket.SOCK_DGRAM: ("udp", "udp6"),
}


def holder(port: int, address: str = "", kind: int = socket.SOCK_STREAM) -> str:
    """Return the process that has *port* of *address* in this network namespace: ``name (pid 7)``.

    A socket of that address is what counts, or one of all addresses; without an *address* any does.
    For TCP it must listen.  One that this process may not look into is ``a process of USER`` where
    there is an *address*, and else as good as none, which is empty.
    """
    with suppress(OSError):
        found = _bound(port, _words(address), kind)
        if found:
            sockets = {f"socket:[{inode}]" for inode in found}
            for process in Path("/proc").glob("[0-9]*"):
                if _holds(process, sockets):
                    return (
                        f"{text_file.read_leniently(process / 'comm').strip()} (pid {process.name})"
                    )
        if found and address:
            return f"a process of {_user(min(found.values()))}"
    return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _words(address: str) -> set[str]:
    """How /proc/net has *address*, and what is as good: the address of all of its family."""
    if not address:
        return set()
    host = address.partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    parts = (packed[at : at + 4] for at in range(0, len(packed), 4))
    text = "".join(f"{int.from_bytes(part, sys.byteorder):08X}" for part in parts)
    return {text, "0" * len(text), "0" * 32}


def _bound(port: int, words: set[str], kind: int) -> dict[str, int]:
    """The inodes and users of such sockets; thread-self, as a thread may have its own namespace."""
    found: dict[str, int] = {}
    for table in _TABLES[kind]:
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in text_file.read_leniently(f"/proc/thread-self/net/{table}").splitlines()[1:]:
                row = line.split()
                host, _, number = row[1].partition(":")
                listens = kind == socket.SOCK_DGRAM or row[3] == _LISTEN
                if number == f"{port:04X}" and listens and (not words or host in words):
                    found[row[9]] = int(row[7])
    return found


def _holds(process: Path, sockets: set[str]) -> bool:
    with suppress(OSError), os.scandir(process / "fd") as descriptors:
        return any(_target(descriptor) in sockets for descriptor in descriptors)
    return False


def _target(link: os.DirEntry[str]) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed in the meantime
        return ""
