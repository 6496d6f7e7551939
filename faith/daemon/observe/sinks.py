"""Places that log lines are written to: the journal, syslog or standard error.

A sink never waits.  What its receiver has no room for is kept in order, within a bound, and written
as soon as there is room again; what is beyond the bound is the caller's to count.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import time
from collections import deque
from contextlib import suppress
from errno import EAGAIN, EMSGSIZE
from functools import lru_cache
from pathlib import Path
from syslog import LOG_DAEMON
from typing import TYPE_CHECKING

from faith.daemon.observe.log_counters import LOST, WAITING, own_cells
from faith.daemon.observe.message_ids import MESSAGE_IDS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    from faith.kernel.shared.families import Cells

    Fields = Mapping[str, str | int | float]
    Later = Callable[[float, Callable[[], object]], object]
    """Has a function called after some seconds."""

SYSLOG = Path("/dev/log")
JOURNAL = Path("/run/systemd/journal/socket")

MOST = 8 << 20
"""Octets of lines that may wait in one process: some 30,000 records as text, half as many in the
journal."""
LONGEST = 48 << 10
"""Characters of a message to syslog or the journal; what is beyond is cut off."""
AGAIN = 0.1
"""Seconds until the next attempt to write."""

_OVERHEAD = 64  # octets of memory for a message besides its own
_LINES = 512  # of one turn of the loop, before they are encoded
_ATOMIC = select.PIPE_BUF  # octets that a pipe takes as a whole or not at all
_LOT = 500  # datagrams of one turn of the loop
_LOOK = 0.05  # seconds for which the end of a process waits at a time
_LENGTH = struct.Struct("<Q")


class Sink:
    """An output for messages, and the lines that wait for it.

    A *structured* sink keeps fields by name.  *bare* says that messages contain their time and
    program.  *cells* of `log_counters.LAYOUT` have the number of lines that wait.
    """

    structured = False
    bare = False

    def __init__(self, most: int = MOST) -> None:
        self.cells: Cells = own_cells()
        self.has_room: Callable[[], object] = lambda: None
        """Called when nothing waits any more."""
        self._most = most
        self._loop: AbstractEventLoop | None = None
        self._later: Later | None = None
        self._is_blocked = False  # the last attempt failed for want of room
        self._is_scheduled = False  # another attempt
        self._is_watched = False  # the descriptor, until it is writable

    # -- what each kind does -----------------------------------------------------------------

    def write(self, priority: int, text: str, fields: Fields, event: str = "") -> int:
        """Write or keep one message of a syslog *priority*; return how many lines were dropped.

        *event* is a key of `MESSAGE_IDS`, or empty.
        """
        raise NotImplementedError

    def fileno(self) -> int:
        """Return the descriptor that the lines are written to."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the sink's own descriptor."""
        raise NotImplementedError

    def _write_some(self) -> bool:
        """Write what waits, as far as it goes now; return whether anything was written."""
        raise NotImplementedError

    def _left(self) -> int:
        """Return the number of lines that wait."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop the lines that wait."""
        raise NotImplementedError

    def _can_be_watched(self) -> bool:
        """Return whether the loop can tell when the descriptor is writable."""
        raise NotImplementedError

    # -- common ------------------------------------------------------------------------------

    def batch(self, loop: AbstractEventLoop) -> None:
        """Belong to *loop* from now on, which says when there is room again."""
        self._loop, self._later = loop, loop.call_later
        self._is_scheduled = False
        if self.cells[WAITING]:
            self.flush()

    def retry_by(self, later: Later) -> None:
        """Have *later* call for every attempt to write, in a process without such a loop."""
        self._later = later

    def call_later(self, seconds: float, action: Callable[[], object]) -> bool:
        """Call *action* later; return False in a process without a timer."""
        if self._later is None or (self._loop and self._loop.is_closed()):
            return False
        self._later(seconds, action)
        return True

    def flush(self) -> bool:
        """Write what waits, as far as it goes now; return whether anything was written."""
        written = self._write_some()
        left = self.cells[WAITING] = self._left()
        if left:
            self._try_again()
        else:
            self._watch(wanted=False)
            if written:
                self.has_room()
        return written

    def finish(self, seconds: float) -> int:
        """Write what waits, for at most so many *seconds*, and drop the rest; return its lines."""
        end = time.monotonic() + seconds
        writable = select.poll()
        writable.register(self.fileno(), select.POLLOUT)
        written = self.flush()
        while self.cells[WAITING] and time.monotonic() < end:
            if not written:
                time.sleep(_LOOK / 5)  # a file is always writable, even if its disk is full
            writable.poll(_LOOK * 1000)
            written = self.flush()
        left: int = self.cells[WAITING]
        self._forget()
        self.cells[WAITING] = 0
        self._watch(wanted=False)
        return left

    def begin_anew(self) -> None:
        """In a forked process: the lines that wait are the parent's, and so are loop and cells."""
        self._loop = self._later = None
        self._is_scheduled = self._is_watched = False
        self.cells = own_cells()
        self._forget()

    def _try_again(self) -> None:
        self._watch(wanted=self._can_be_watched())
        if not self._is_scheduled:
            self._is_scheduled = self.call_later(AGAIN, self._attempt)

    def _attempt(self) -> None:
        self._is_scheduled = False
        self.flush()

    def _watch(self, *, wanted: bool) -> None:
        if self._loop is None or self._loop.is_closed() or wanted == self._is_watched:
            return
        self._is_watched = wanted
        if wanted:
            self._loop.add_writer(self.fileno(), self.flush)
        else:
            self._loop.remove_writer(self.fileno())


# -- datagrams -----------------------------------------------------------------------------------


class _Datagrams(Sink):
    """A Unix socket that takes one message in each datagram."""

    def __init__(self, path: Path, most: int = MOST) -> None:
        super().__init__(most)
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waiting: deque[bytes] = deque()
        self._octets = 0  # that they take

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _put(self, message: bytes) -> int:
        """Send or keep *message*; return 1 if it was dropped, else 0."""
        if self._waiting and not self._is_scheduled:
            self.flush()
        if not self._waiting:
            try:
                # By path every time: a restarted daemon has a new socket there.
                self._socket.sendto(message, self._path)
                return 0
            except OSError as error:
                if error.errno == EMSGSIZE:
                    return 1
                self._fail(error)
        if self._octets + len(message) + _OVERHEAD > self._most:
            return 1
        self._waiting.append(message)
        self._octets += len(message) + _OVERHEAD
        self.cells[WAITING] += 1
        if not self._is_scheduled:
            self._try_again()
        return 0

    def _write_some(self) -> bool:
        waiting, send = self._waiting, self._socket.sendto
        written = 0
        try:
            while waiting and written < _LOT:
                send(waiting[0], self._path)
                self._octets -= len(waiting.popleft()) + _OVERHEAD
                written += 1
        except OSError as error:
            if error.errno == EMSGSIZE:  # it would be in the way of the others for ever
                self._octets -= len(waiting.popleft()) + _OVERHEAD
                self.cells[LOST] += 1
            self._fail(error)
        return written > 0

    def _fail(self, error: OSError) -> None:
        """Connect the socket: otherwise it counts as writable even if its receiver has no room."""
        try:
            self._socket.connect(self._path)
            self._is_blocked = error.errno == EAGAIN
        except OSError:
            self._is_blocked = False

    def _left(self) -> int:
        return len(self._waiting)

    def _forget(self) -> None:
        self._waiting.clear()
        self._octets = 0

    def _can_be_watched(self) -> bool:
        return self._is_blocked


class Syslog(_Datagrams):
    """Syslog's socket, with messages as syslog(3) writes them with LOG_PID and LOG_DAEMON."""

    def __init__(self, ident: str, path: Path = SYSLOG, most: int = MOST) -> None:
        super().__init__(path, most)
        self._ident = ident

    def write(self, priority: int, text: str, fields: Fields, event: str = "") -> int:
        """Send or keep a datagram for each line of *text*; return how many were dropped."""
        head = (
            f"<{LOG_DAEMON | priority}>{stamp('%b %e %H:%M:%S', int(time.time()))}"
            f" {self._ident}[{own_pid()}]: "
        )
        return sum([self._put(_encoded(head + line[:LONGEST])) for line in text.splitlines()])


class Journal(_Datagrams):
    """systemd's journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    structured = True

    def __init__(self, ident: str, path: Path = JOURNAL, most: int = MOST) -> None:
        super().__init__(path, most)
        self._common = _entry("SYSLOG_IDENTIFIER", ident) + _entry("SYSLOG_FACILITY", 3)
        self._ids = {name: _entry("MESSAGE_ID", one) for name, one in MESSAGE_IDS.items()}

    def write(self, priority: int, text: str, fields: Fields, event: str = "") -> int:
        """Send or keep one entry; *fields* become FAITH_CLIENT and so on."""
        entry = _entry("MESSAGE", text[:LONGEST]) + _entry("PRIORITY", priority) + self._common
        return self._put(
            entry
            + self._ids.get(event, b"")
            + b"".join([_entry(f"FAITH_{name.upper()}", fields[name]) for name in fields])
        )


def _entry(name: str, value: str | int | float) -> bytes:
    data = _encoded(str(value))
    if b"\n" in data:
        return name.encode() + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


# -- a file, a pipe, a terminal ------------------------------------------------------------------


class Stderr(Sink):
    """Lines on standard error, with time and program unless they are *bare*."""

    def __init__(self, ident: str, descriptor: int = 2, most: int = MOST) -> None:
        super().__init__(most)
        self._ident = ident
        self._descriptor = _without_waiting(descriptor)
        mode = os.fstat(self._descriptor).st_mode
        self._is_pipe = stat.S_ISFIFO(mode)
        self._socket = socket.socket(fileno=self._descriptor) if stat.S_ISSOCK(mode) else None
        self._waits = not (self._socket or stat.S_ISREG(mode)) and os.get_blocking(self._descriptor)
        self._lines: list[str] = []  # of this turn
        self._pending = bytearray()  # encoded lines
        self._count = 0  # of these

    def fileno(self) -> int:
        """Return the sink's own descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the sink's own descriptor."""
        if self._socket:
            self._socket.close()
        else:
            os.close(self._descriptor)

    def write(self, priority: int, text: str, fields: Fields, event: str = "") -> int:
        """Write or keep the lines of *text*; return how many were dropped."""
        if len(self._lines) >= _LINES:
            self._gather()
        if len(self._pending) > self._most:
            if not self._is_scheduled:
                self.flush()
            if len(self._pending) > self._most:
                return text.count("\n") + 1
        self._lines.append(text)
        self.cells[WAITING] += 1
        if self._loop is None:
            if not self._is_scheduled:
                self.flush()
        elif not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._attempt)
        return 0

    def _write_some(self) -> bool:
        """Write what waits; what cannot be written now, for any reason, stays."""
        self._gather()
        pending = self._pending
        before = len(pending)
        try:
            while pending:
                written = self._write(self._piece())
                self._count -= pending.count(b"\n", 0, written)
                del pending[:written]
        except OSError as error:
            self._is_blocked = error.errno == EAGAIN
        return len(pending) < before

    def _piece(self) -> bytes | bytearray:
        """Return what to write at once: of a pipe whole lines, between which others may write."""
        pending = self._pending
        if not (self._is_pipe or self._waits) or len(pending) <= _ATOMIC:
            return pending
        end = pending.rfind(b"\n", 0, _ATOMIC) + 1 or pending.find(b"\n") + 1
        return pending[: end or len(pending)]

    def _write(self, piece: bytes | bytearray) -> int:
        if self._socket:
            return self._socket.send(piece, socket.MSG_DONTWAIT)
        if self._waits and not select.select((), (self._descriptor,), (), 0)[1]:
            raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))
        return os.write(self._descriptor, piece)

    def _gather(self) -> None:
        """Encode the lines of this turn with time and program, all at once: there can be many."""
        if not self._lines:
            return
        head = ""
        if not self.bare:
            now = stamp("%Y-%m-%d %H:%M:%S", int(time.time()))
            head = f"{now} {self._ident}[{own_pid()}]: "
        lines = f"\n{head}".join(self._lines)
        encoded = _encoded(f"{head}{lines}\n")
        self._pending += encoded
        self._count += encoded.count(b"\n")
        self._lines.clear()

    def _left(self) -> int:
        return self._count

    def _forget(self) -> None:
        self._lines.clear()
        self._pending.clear()
        self._count = 0

    def _can_be_watched(self) -> bool:
        return self._is_blocked and (self._is_pipe or self._socket is not None)


def _without_waiting(descriptor: int) -> int:
    """Return a descriptor of the same pipe or terminal with O_NONBLOCK, which others do not share.

    A file needs none; a socket is duplicated as it is, and so is everything without /proc.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return os.dup(descriptor)


# -- common --------------------------------------------------------------------------------------


def _encoded(text: str) -> bytes:
    """Encode *text*; octets of a name that is not UTF-8 are escaped."""
    return text.encode(errors="backslashreplace")


@lru_cache(maxsize=1)
def own_pid() -> int:
    """Return the process number, without a system call for every line."""
    return os.getpid()


os.register_at_fork(after_in_child=own_pid.cache_clear)


@lru_cache(maxsize=8)
def stamp(form: str, second: int, utc: bool = False) -> str:
    """Return the time *second*, in Unix time, by a *form* of strftime(3)."""
    return time.strftime(form, time.gmtime(second) if utc else time.localtime(second))
