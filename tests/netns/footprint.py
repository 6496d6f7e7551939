"""What the processes of a daemon take of the machine while it runs: memory and descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.lab import ThreeHosts
    from tests.faithd import Faithd

_TCP = Path("/proc/thread-self/net/tcp6")
_LISTENING = "0A"
_OF_PORT = {53: "name server", 9064: "metrics"}
"""Which process listens there and nowhere else."""


@dataclass
class Sample:
    """What one process had at a *time* of the monotonic clock: bytes, and descriptors."""

    time: float
    rss: int
    descriptors: int


@dataclass
class Connection:
    """A line of the kernel's table of TCP sockets."""

    port: int
    peer: int
    state: str
    inode: str


class Footprint:
    """Looks at the processes of *faithd* on the gateway of *lab*, whenever it is told to."""

    def __init__(self, lab: ThreeHosts, faithd: Faithd) -> None:
        self._lab = lab
        self._faithd = faithd
        self._samples: dict[int, list[Sample]] = {}

    def look(self) -> None:
        """Take a sample of every process."""
        now = time.monotonic()
        for pid in self._pids():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                sample = Sample(now, pages * resource.getpagesize(), len(descriptors(pid)))
                self._samples.setdefault(pid, []).append(sample)

    def growth(self, begin: float, end: float) -> dict[str, tuple[int, int]]:
        """The median RSS in the first quarter of that time, and in its last.

        Of every process that is there now, by what it is.
        """
        quarter = (end - begin) / 4

        def median(pid: int, since: float) -> int:
            part = [s.rss for s in self._samples[pid] if since <= s.time <= since + quarter]
            return int(statistics.median(part))

        return {
            name: (median(pid, begin), median(pid, end - quarter))
            for name, pid in self.processes().items()
        }

    def at_rest(self) -> dict[str, int]:
        """The descriptors of every process, by what it is, when they do not change any more."""
        found: dict[str, int] = {}
        before = None
        while found != before:
            time.sleep(0.5)
            before = found
            found = {name: len(descriptors(pid)) for name, pid in self.processes().items()}
        return found

    def processes(self) -> dict[str, int]:
        """Each by what it is."""
        special = {
            one.inode: _OF_PORT[one.port]
            for one in connections(self._lab)
            if one.state == _LISTENING and one.port in _OF_PORT
        }
        names, workers = {"supervisor": self._faithd.process.pid}, 0
        for pid in self._faithd.workers:
            roles = {special[inode] for inode in sockets(pid) & special.keys()}
            if not roles:
                workers += 1
            names[roles.pop() if roles else f"worker {workers}"] = pid
        return names

    def _pids(self) -> list[int]:
        return [self._faithd.process.pid, *self._faithd.workers]


def descriptors(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.append(os.readlink(one))
    return found


def sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    return {one[len("socket:[") : -1] for one in descriptors(pid) if one.startswith("socket:[")}


def connections(lab: ThreeHosts) -> list[Connection]:
    """The gateway's TCP sockets on IPv6."""
    found = []
    for line in lab.gateway.call(_TCP.read_text).splitlines()[1:]:
        _, local, remote, state, *more = line.split()
        port, peer = (int(one.rpartition(":")[2], 16) for one in (local, remote))
        found.append(Connection(port, peer, state, more[5]))
    return found
