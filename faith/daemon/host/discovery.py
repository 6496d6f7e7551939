"""Discovery of the faithds in this network namespace, and of what they serve.

Each listens on an abstract socket ``faith/PID``, which belongs to the network namespace: it is seen
from every mount namespace (``ip netns exec`` gives a command one of its own) and ends with its
process.  Whoever connects gets one JSON object.
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
"""Seconds that a faithd has to answer."""

_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid
_LONGEST = 1 << 18


@dataclass(frozen=True)
class Running:
    """A running faithd: *service* and *ports* as texts, *started* in Unix time.

    *prefixes* are those it relays from, *sets_up* those it reserved itself (``-P``), *sessions* the
    number of open ones, *control* the path of its control socket.
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
    """The upgrades that have failed since this program began."""
    late: list[str] = field(default_factory=list)
    """Processes that do not answer, or have not applied the newest rules or settings."""
    warnings: list[str] = field(default_factory=list)
    """The obstacles that its processes meet, a sentence each."""
    absent: list[str] = field(default_factory=list)
    """Source addresses that this host does not have, the first of each range."""

    @property
    def served(self) -> Ports:
        """The ports as a set."""
        return Ports.parse(self.ports, socket.getservbyname) if self.ports else NO_PORTS


class Announcement:
    """The socket by which a daemon is discovered; it answers with what *state* returns.

    Wait until ``fileno()`` is readable, then call ``answer()``.  *descriptor* is the socket of the
    predecessor process.
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
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def state(self) -> int:
        """Return the descriptor, for an upgrade."""
        return self._socket.fileno()

    def descriptors(self) -> tuple[int]:
        """Return the descriptor, as a tuple."""
        return (self._socket.fileno(),)

    def answer(self) -> None:
        """Answer every waiting connection."""
        with suppress(OSError):  # no connection is waiting, or the client has closed it
            while True:
                asking, _ = self._socket.accept()
                with asking, suppress(OSError):
                    asking.setblocking(False)
                    asking.send(json.dumps(asdict(self._state())).encode())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def announce(state: Callable[[], Running], descriptor: int | None = None) -> Announcement:
    """Make the daemon discoverable by :func:`running`; see :class:`Announcement`."""
    return Announcement(state, descriptor)


def _free_name() -> str:
    """Return ``faith/PID``; containers may share a network and each have a process of
    that number."""
    taken = set(_names())
    name = f"faith/{os.getpid()}"
    while name in taken:
        name += "+"
    return f"\0{name}"


def running() -> list[Running]:
    """Return every faithd of this thread's network namespace that answers, except this process."""
    answers = (_ask(name) for name in sorted(set(_names())))
    return [found for found in answers if found and found.pid != os.getpid()]


def _names() -> Iterator[str]:
    """Return the names of abstract sockets that may be those of faithds in this
    thread's namespace."""
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
    # Anyone may bind such a name; only the superuser and this user are believed.
    return _read(data, pid) if uid in (0, os.geteuid()) else None


def _read(data: bytes, pid: int) -> Running | None:
    """Parse the answer *data* of the process *pid* (0: known to another PID namespace only)."""
    try:
        told = json.loads(data)
        return Running(**{**told, "pid": pid or told["pid"]})
    except (ValueError, TypeError, KeyError):
        return None
