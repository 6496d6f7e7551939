"""Discovery of the faithds in this network namespace, and of what they serve.

Each listens on a socket of its own in a directory that belongs to root; the inode of its network
namespace is part of the name.  Nobody but root and the daemon's own user can connect to it, bind
such a name, or fill its queue; and whoever asks believes nobody else.  Whoever connects gets one
JSON object, in a file in memory, so that neither side ever waits for the other.
"""

from __future__ import annotations

import logging
import os
import secrets
import selectors
import socket
import struct
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.json import Decoder, encode
from msgspec.structs import replace

from faith.daemon.observe.checked_decoding import checked
from faith.daemon.observe.status_report import Daemon
from faith.daemon.process import runtime_directory
from faith.daemon.process.channel import JsonChannel, from_memory, in_memory
from faith.kernel.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.daemon.process.loop import Loop

DIRECTORY = runtime_directory.DIRECTORY
"""The directory of the sockets.  Daemons with another one there are not found."""
TIMEOUT = 0.5
"""Seconds that all faithds together have to answer."""
PAUSE = 1.0
"""Seconds for which nobody is answered when there is no descriptor left."""

_AT_ONCE = 16
"""Connections that are answered in one turn of the supervisor's loop."""

_PROCESSES = Path("/proc")
_SUPERVISOR = b"faithd: supervisor"
"""How the titles of supervisors begin."""

_decode = checked(Decoder(Daemon).decode)

log = logging.getLogger("faith.supervisor")


class Peer(NamedTuple):
    """The process that listens at the other end of a connection, as the kernel attests it.

    *pid* is 0 for a process that this PID namespace does not have.
    """

    pid: int
    uid: int
    gid: int

    @classmethod
    def of(cls, sock: socket.socket) -> Peer:
        """Return the peer of *sock*, from its struct ucred.  Raises OSError."""
        size = struct.calcsize("=3i")
        return cls(
            *struct.unpack("=3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        )


class Announcement:
    """The socket by which a daemon is discovered; it answers with what *running* returns.

    *path* is its name, which the process *owner* made.  Without a *sock* the daemon runs
    undiscovered.
    """

    def __init__(
        self, sock: socket.socket | None, path: Path, owner: int, running: Callable[[], Daemon]
    ) -> None:
        self._socket = sock
        self._path = path
        self._owner = owner
        self._running = running

    @classmethod
    def create(cls, running: Callable[[], Daemon]) -> Announcement:
        """Listen on a new name; a warning says so where the directory cannot be written to."""
        sock, path = None, DIRECTORY
        try:
            _remove_dead()
            path, sock = _listening()
        except OSError as error:
            log.warning(
                "faith status and other faithds cannot find this one: %s: %s; make %s a directory"
                " that it can write to, or name another: FAITH_RUNTIME_DIRECTORY",
                error.filename or DIRECTORY,
                error.strerror,
                DIRECTORY,
            )
        return cls(sock, path, os.getpid(), running)

    @classmethod
    def adopt(
        cls, state: tuple[str, int, int] | None, running: Callable[[], Daemon]
    ) -> Announcement:
        """Adopt the socket whose `state` the predecessor process left, if it had one."""
        if state is None:
            return cls.create(running)
        path, descriptor, owner = state
        return cls(socket.socket(fileno=descriptor), Path(path), owner, running)

    def serve(self, loop: Loop) -> None:
        """Have *loop* answer; without a descriptor to do so, again after `PAUSE`."""
        if self._socket:
            loop.watch(self._socket, partial(self._answer_or_pause, loop))

    def _answer_or_pause(self, loop: Loop) -> None:
        try:
            self.answer()
        except OSError:
            assert self._socket
            loop.forget(self._socket)
            loop.later(PAUSE, partial(self.serve, loop))

    def answer(self) -> None:
        """Answer the connections that wait, some in each turn; it never waits for a client.

        Raises OSError when there is no descriptor to do so.
        """
        if self._socket is None:
            return
        with in_memory(encode(self._running()).decode()) as file, suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                asking, _ = self._socket.accept()
                with asking, suppress(OSError):  # the client has closed it
                    JsonChannel(asking).send({}, [file])

    def fileno(self) -> int:
        """Return the descriptor to wait on, -1 if the daemon is not discoverable."""
        return self._socket.fileno() if self._socket else -1

    def state(self) -> tuple[str, Descriptor, int] | None:
        """Return the path, the descriptor and the process, for an upgrade."""
        if self._socket is None:
            return None
        return str(self._path), Descriptor.of(self._socket), self._owner

    def close(self) -> None:
        """Close the socket and remove it, unless this is a copy, in a process on trial."""
        if self._socket is None:
            return
        if self._owner == os.getpid():
            with suppress(OSError):
                self._path.unlink()
        self._socket.close()


def running() -> list[Daemon]:
    """Return every faithd of this thread's network namespace that answers, except this process.

    All are asked at once, and waited for no longer than `TIMEOUT` in all.
    """
    found = []
    with ExitStack() as sockets, selectors.DefaultSelector() as answers:
        for path in _names():
            sock = sockets.enter_context(_socket())
            if peer := _ask(sock, path):
                answers.register(sock, selectors.EVENT_READ, peer)
        deadline = time.monotonic() + TIMEOUT
        while answers.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in answers.select(left):
                assert isinstance(key.fileobj, socket.socket)
                answers.unregister(key.fileobj)
                if told := _answer(key.fileobj, key.data):
                    found.append(told)
    return sorted(found, key=lambda faithd: faithd.pid)


def silent(found: Iterable[Daemon]) -> list[int]:
    """Return the processes of the faithds that can be connected to, and are not those *found*."""
    return sorted({*listening()} - {one.pid for one in found})


def listening() -> list[int]:
    """Return the processes of the faithds that can be connected to, whether they answer or not."""
    found = []
    for path in _names():
        with _socket() as sock:
            if (peer := _ask(sock, path)) and peer.pid:
                found.append(peer.pid)
    return sorted(found)


def unannounced() -> list[int]:
    """Return the supervisors here that have no socket in `DIRECTORY`, as far as ps(1) shows them.

    Where that is read-only for them, or another one is theirs, they serve and cannot be asked.
    """
    network = os.stat("/proc/thread-self/ns/net").st_ino
    found = {int(each.name) for each in _PROCESSES.glob("[1-9]*") if _supervises(each, network)}
    return sorted(found - {*listening(), os.getpid()})


def _supervises(process: Path, network: int) -> bool:
    """Return whether *process*, of proc(5), is a faithd's supervisor in that network namespace."""
    try:
        title = (process / "cmdline").read_bytes()
        return title.startswith(_SUPERVISOR) and (process / "ns/net").stat().st_ino == network
    except OSError:  # it has ended, or is not ours to look at
        return False


def hidden() -> int:
    """Return the number of faithds of this network namespace that this user may not ask."""
    return sum(not os.access(path, os.W_OK, effective_ids=True) for path in _names())


def _names(network: str | None = None) -> list[Path]:
    """Return the sockets of the faithds in *network*, or in this thread's network namespace."""
    if network is None:
        network = str(os.stat("/proc/thread-self/ns/net").st_ino)
    return sorted(DIRECTORY.glob(f"faithd-{network}-*.sock"))


def _listening() -> tuple[Path, socket.socket]:
    """Return a new socket that listens, and its path.  Raises OSError.

    It gets its final name once it listens.  The name is random: daemons of two PID namespaces that
    share network and directory may have the same process number.
    """
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    network = os.stat("/proc/thread-self/ns/net").st_ino
    path = DIRECTORY / f"faithd-{network}-{os.getpid()}-{secrets.token_hex(4)}.sock"
    new = path.with_suffix(".new")
    sock = _socket()
    before = os.umask(0o177)
    try:
        sock.bind(str(new))
        sock.listen()
        new.rename(path)
    except OSError:
        sock.close()
        new.unlink(missing_ok=True)
        raise
    finally:
        os.umask(before)
    return path, sock


def _remove_dead() -> None:
    """Remove the sockets of processes that were killed, of any network namespace."""
    for path in _names("*"):
        with suppress(OSError), _socket() as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)


def _ask(sock: socket.socket, path: Path) -> Peer | None:
    """Connect *sock* to the faithd at *path*, and return what the kernel attests of it.

    None for one that is not to be believed, is gone or does not accept, and for this process.
    """
    try:
        sock.connect(str(path))
        peer = Peer.of(sock)
    except OSError:
        return None
    return peer if peer.uid in (0, os.geteuid()) and peer.pid != os.getpid() else None


def _answer(sock: socket.socket, peer: Peer) -> Daemon | None:
    """Return the answer of *peer* that has arrived on *sock*; None for an invalid one."""
    try:
        received = JsonChannel(sock).receive()
        if received is None:
            return None
        (file,) = received.descriptors
        return _read(from_memory(file), peer.pid)
    except (OSError, ValueError):
        return None


def _read(text: str, pid: int) -> Daemon | None:
    """Parse the answer *text* of the process *pid* (0: known to another PID namespace only).

    Fields that another version has more or less are left out, or have their defaults.
    """
    try:
        told = _decode(text)
    except ValueError:
        return None
    return replace(told, pid=pid) if pid else told
