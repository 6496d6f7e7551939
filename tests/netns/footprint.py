"""The memory and the descriptors of a daemon's processes while it runs."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import subprocess

    from faith.lab import ThreeHosts

_NET = Path("/proc/thread-self/net")
"""Of the thread's own namespace: the kernel's tables of sockets."""
_TCP = "tcp", "tcp6"
_UDP = "udp", "udp6"
_INODE = 9
"""Its column in all of them."""
_LISTENING = "0A"
_TO_NAMES = ":0035"
FLOWS = "flows"
"""The name of the process that decides about them, the only child with BPF maps."""
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


class Daemon(Protocol):
    """A faithd: its supervisor and its children."""

    @property
    def process(self) -> subprocess.Popen[str]: ...

    @property
    def workers(self) -> list[int]: ...


class Footprint:
    """Looks at the processes of *faithd* on the gateway of *lab*, whenever it is told to."""

    def __init__(self, lab: ThreeHosts, faithd: Daemon) -> None:
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
            time.sleep(0.5)  # time: that nothing changes
            before = found
            found = {name: len(descriptors(pid)) for name, pid in self.processes().items()}
        return found

    def processes(self) -> dict[str, int]:
        """Each by what it is."""
        roles, workers = self._roles(), 0
        names = {"supervisor": self._faithd.process.pid}
        for pid in self._faithd.workers:
            held = sockets(pid)
            name = next((role for role, inodes in roles if held & inodes), "")
            if any("bpf-map" in one for one in descriptors(pid)):
                name = FLOWS
            if not name:
                workers += 1
                name = f"worker {workers}"
            names[name] = pid
        return names

    def _roles(self) -> list[tuple[str, set[str]]]:
        """Who has one of these sockets is that; if more fit, the first: UDP has raw ones, too."""
        listening = [one for one in connections(self._lab) if one.state == _LISTENING]
        return [
            *(
                (role, {one.inode for one in listening if one.port == port})
                for port, role in _OF_PORT.items()
            ),
            ("UDP", {line[_INODE] for line in _lines(self._lab, "udp6")}),
            ("ping", {line[_INODE] for line in _lines(self._lab, "raw6")}),
        ]

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
    """The gateway's TCP sockets."""
    found = []
    for table in _TCP:
        for line in _lines(lab, table):
            port, peer = (int(one.rpartition(":")[2], 16) for one in line[1:3])
            found.append(Connection(port, peer, line[3], line[_INODE]))
    return found


def asking(lab: ThreeHosts) -> list[str]:
    """The gateway's UDP sockets that are connected to port 53: a name server asks others there."""
    lines = (line for table in _UDP for line in _lines(lab, table))
    return [line[_INODE] for line in lines if line[2].endswith(_TO_NAMES)]


def _lines(lab: ThreeHosts, table: str) -> list[list[str]]:
    """Each by its words."""
    text = lab.gateway.call((_NET / table).read_text)
    return [line.split() for line in text.splitlines()[1:]]
