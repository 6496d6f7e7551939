"""Which faithds run in this network namespace, and what they serve.

Each listens on an abstract socket ``faith/PID``, which belongs to the network namespace: it is seen
from every mount namespace (``ip netns exec`` makes one a command) and goes with its process.  Who
connects gets one JSON object.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from faith.translation.ports import NO_PORTS, Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT = 0.5
"""Seconds a faithd has to answer."""

_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid
_LONGEST = 1 << 18


@dataclass(frozen=True)
class Running:
    """A faithd: *service* and *ports* as texts, *started* in Unix time.

    *prefixes* are what it relays from, *sets_up* those it set up itself (``-P``), *sessions* how
    many are open, *control* the path of its control socket.
    """

    pid: int
    service: str
    ports: str
    via: str
    workers: int
    started: float
    prefixes: list[str]
    sets_up: list[str]
    sessions: int = 0
    draining: bool = False
    control: str | None = None
    programs: int = 1
    """How many programs have served in this process: one more after each upgrade."""
    failed: int = 0
    """Upgrades that this program has outlived, because they failed."""
    late: list[str] = field(default_factory=list)
    """Processes that do not answer, or have not applied the newest rules or settings."""

    @property
    def served(self) -> Ports:
        """The ports as such."""
        return Ports.parse(self.ports, socket.getservbyname) if self.ports else NO_PORTS


class Announcement:
    """Answers whoever asks with what *state* says then; the socket goes at ``close()``.

    Wait for ``fileno()`` to become readable, then call ``answer()``.  *descriptor* is the socket
    that the program before this one has left.
    """

    def __init__(self, state: Callable[[], Running], descriptor: int | None = None) -> None:
        self._state = state
        if descriptor is not None:
            self._socket = socket.socket(fileno=descriptor)
            self._socket.setblocking(False)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._socket.bind(_free_name())
        self._socket.listen()

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def state(self) -> int:
        """The descriptor, for the next program."""
        return self._socket.fileno()

    def descriptors(self) -> tuple[int]:
        """The descriptor."""
        return (self._socket.fileno(),)

    def answer(self) -> None:
        """Answer all who wait."""
        with suppress(OSError):  # none is left, or one that left again
            while True:
                asking, _ = self._socket.accept()
                with asking, suppress(OSError):
                    asking.setblocking(False)
                    asking.send(json.dumps(asdict(self._state())).encode())

    def close(self) -> None:
        """Be seen no more."""
        self._socket.close()


def announce(state: Callable[[], Running], descriptor: int | None = None) -> Announcement:
    """Be found by :func:`running`; see :class:`Announcement`."""
    return Announcement(state, descriptor)


def _free_name() -> str:
    """``faith/PID``; containers may share a network and each have a process of that number."""
    taken = set(_names())
    name = f"faith/{os.getpid()}"
    while name in taken:
        name += "+"
    return f"\0{name}"


def running() -> list[Running]:
    """Every faithd of this thread's network namespace that answers, this process left out."""
    answers = (_ask(name) for name in sorted(set(_names())))
    return [found for found in answers if found and found.pid != os.getpid()]


def _names() -> Iterator[str]:
    """The names of abstract sockets that may be ours; a thread may have its own namespace."""
    for line in Path("/proc/thread-self/net/unix").read_text().splitlines():
        _, _, name = line.partition(" @faith/")
        if name:
            yield f"faith/{name}"


def _ask(name: str) -> Running | None:
    deadline = time.monotonic() + TIMEOUT
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.settimeout(TIMEOUT)
            sock.connect(f"\0{name}")
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            data = sock.recv(_LONGEST)
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid, uid, _ = _CREDENTIALS.unpack(peer)
    # Anyone may take such a name; only the superuser and we ourselves are believed.
    return _read(data, pid) if uid in (0, os.geteuid()) else None


def _read(data: bytes, pid: int) -> Running | None:
    """What *data* tells of the process *pid* (0: one that only its own PID namespace knows)."""
    try:
        told = json.loads(data)
        return Running(**{**told, "pid": pid or told["pid"]})
    except (ValueError, TypeError, KeyError):
        return None
