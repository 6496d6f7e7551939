"""The sink of a daemon in the foreground: standard error, which is a file, a pipe or a terminal."""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from contextlib import suppress
from errno import EAGAIN
from typing import TYPE_CHECKING

from faith.daemon.observe.log_counters import WAITING
from faith.daemon.observe.sinks import MOST, Sink, encoded, own_pid, stamp

if TYPE_CHECKING:
    from faith.daemon.observe.sinks import Fields

_LINES = 512  # of one turn of the loop, before they are encoded
_ATOMIC = select.PIPE_BUF  # octets that a pipe takes as a whole or not at all


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
        if self._is_scheduled:
            return 0
        if self._loop is None or self._loop.is_closed():
            self.flush()
        else:
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
        octets = encoded(f"{head}{lines}\n")
        self._pending += octets
        self._count += octets.count(b"\n")
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
