"""Sinks that take one message in each datagram: syslog and the journal."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from errno import EAGAIN, EMSGSIZE
from functools import cache
from pathlib import Path
from syslog import LOG_DAEMON
from typing import TYPE_CHECKING

from faith.daemon.observe.log_counters import LOST, WAITING
from faith.daemon.observe.message_ids import MESSAGE_IDS
from faith.daemon.observe.sinks import MOST, Sink, encoded, own_pid, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faith.daemon.observe.sinks import Fields

SYSLOG = Path("/dev/log")
JOURNAL = Path("/run/systemd/journal/socket")

LONGEST = 48 << 10
"""Characters of a message; what is beyond is cut off."""

_OVERHEAD = 64  # octets of memory for a message besides its own
_LOT = 500  # datagrams of one turn of the loop
_LENGTH = struct.Struct("<Q")


class _Datagrams(Sink):
    """A Unix socket that takes one message in each datagram."""

    def __init__(self, path: Path, most: int = MOST) -> None:
        super().__init__(most)
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waiting: deque[bytes] = deque()
        self._octets = 0  # that they take
        self._is_full = False
        """A message was dropped and none has been sent since: a shorter one must not pass it."""

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
        if self._is_full or self._octets + len(message) + _OVERHEAD > self._most:
            self._is_full = True
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
                self._remove_first()
                written += 1
        except OSError as error:
            if error.errno == EMSGSIZE:  # it would be in the way of the others for ever
                self._remove_first()
                self.cells[LOST] += 1
            self._fail(error)
        return written > 0

    def _remove_first(self) -> None:
        self._octets -= len(self._waiting.popleft()) + _OVERHEAD
        self._is_full = False

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
        self._is_full = False

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
        if "\n" not in text:
            return self._put(encoded(head + text[:LONGEST]))
        return sum([self._put(encoded(head + line[:LONGEST])) for line in text.splitlines()])


class Journal(_Datagrams):
    """systemd's journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    structured = True

    def __init__(self, ident: str, path: Path = JOURNAL, most: int = MOST) -> None:
        super().__init__(path, most)
        self._ident = _entry("SYSLOG_IDENTIFIER", ident) + _entry("SYSLOG_FACILITY", 3)
        self._common = self._ident
        self._ids = {name: _entry("MESSAGE_ID", one) for name, one in MESSAGE_IDS.items()}

    def label(self, labels: Mapping[str, str]) -> None:
        """Have every entry from now on contain *labels*, as FAITH_ROLE and so on."""
        entries = (_entry(_field(name), value) for name, value in labels.items())
        self._common = self._ident + b"".join(entries)

    def write(self, priority: int, text: str, fields: Fields, event: str = "") -> int:
        """Send or keep one entry; *fields* become FAITH_CLIENT and so on."""
        lines = [f"{_field(name)}={fields[name]}\n" for name in fields]
        entry = f"MESSAGE={text[:LONGEST]}\nPRIORITY={priority}\n{''.join(lines)}"
        if entry.count("\n") == len(lines) + 2:  # as nearly all are
            return self._put(encoded(entry) + self._ids.get(event, b"") + self._common)
        parts = [_entry("MESSAGE", text[:LONGEST]), _entry("PRIORITY", priority)]
        parts += [_entry(_field(name), fields[name]) for name in fields]
        return self._put(b"".join(parts) + self._ids.get(event, b"") + self._common)


@cache
def _field(name: str) -> str:
    return f"FAITH_{name.upper()}"


def _entry(name: str, value: str | int | float) -> bytes:
    data = encoded(str(value))
    if b"\n" in data:
        return name.encode() + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
