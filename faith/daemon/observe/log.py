"""Output of log messages and session records: the journal, syslog or standard error.

Nothing here ever waits: what its receiver has no room for is dropped and counted, and the count is
logged when there is room again.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import struct
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from syslog import LOG_DAEMON, LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_NOTICE, LOG_WARNING
from typing import TYPE_CHECKING, Protocol

from faith.relay.tcp.record import endpoint
from faith.translation.reasons import (
    DENIED,
    NO_RULE,
    NOT_GLOBAL,
    OWN,
    SOURCE_MAPPED,
    SPECIAL,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Mapping

    from faith.relay.tcp.record import Record

    Fields = Mapping[str, str | int | float]

NOTICE = 25
"""The level between INFO and WARNING, for what an operator wants to see in daily operation."""
logging.addLevelName(NOTICE, "NOTICE")

SYSLOG = Path("/dev/log")
JOURNAL = Path("/run/systemd/journal/socket")
FORMS = ("text", "json")

_FLOORS = (
    (logging.ERROR, LOG_ERR),
    (logging.WARNING, LOG_WARNING),
    (NOTICE, LOG_NOTICE),
    (logging.INFO, LOG_INFO),
)
_NAMES = {
    LOG_ERR: "err",
    LOG_WARNING: "warning",
    LOG_NOTICE: "notice",
    LOG_INFO: "info",
    LOG_DEBUG: "debug",
}
_NOT_PERMITTED = frozenset((DENIED, NO_RULE, SPECIAL, OWN, NOT_GLOBAL, SOURCE_MAPPED))
_NO_FIELDS: Fields = {}
_LENGTH = struct.Struct("<Q")
_PENDING = 1 << 18  # octets of unwritten lines kept for a slow reader of standard error
_LINES = 512  # of one turn of the loop, before they are encoded
_RETRY = 0.2  # seconds until the next attempt to write them


class Sink(Protocol):
    """An output for messages.

    A *structured* sink keeps fields by name.  *bare* says that messages contain their time and
    program.
    """

    structured: bool
    bare: bool

    def write(self, priority: int, text: str, fields: Fields) -> bool:
        """Write one message of a syslog *priority*; return False when it had to be dropped."""

    def batch(self, loop: AbstractEventLoop) -> None:
        """Write at most once in each turn of *loop*, where that saves anything."""

    def flush(self) -> None:
        """Write what is buffered."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def close(self) -> None:
        """Close the descriptor."""


class Log(logging.Handler):
    """The handler that writes log messages and session records to *sink* in one of `FORMS`.

    *ident* is the program name in the output, as KAME's ``faithd telnet``.
    """

    def __init__(self, sink: Sink, ident: str, form: str = "text") -> None:
        super().__init__()
        self._sink = sink
        self._ident = ident
        self._json = False
        self._lost = 0
        self.form = form

    @property
    def form(self) -> str:
        """The output form, one of `FORMS`."""
        return "json" if self._json else "text"

    @form.setter
    def form(self, form: str) -> None:
        self._sink.flush()  # buffered lines have the old form
        self._json = form == "json"
        self._sink.bare = self._json

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message of :mod:`logging`."""
        try:
            self._write(priority(record.levelno), self.format(record), _NO_FIELDS)
        except Exception:  # noqa: BLE001 - a bad message must not end what it is about
            self.handleError(record)

    def record(self, record: Record) -> None:
        """Write the record of a connection; a refusal by rule in KAME's words, and at
        KAME's level."""
        fields = record.fields() if self._json or self._sink.structured else _NO_FIELDS
        if record.end in _NOT_PERMITTED:
            to = f"to {endpoint(record.mapped)} " if not record.discreet else ""
            text = f"translation {to}not permitted for {endpoint(record.client)}: {record.end}"
            self._write(LOG_ERR, text, fields)
        else:
            self._write(LOG_INFO, "session" if self._json else record.text(), fields)

    def batch(self, loop: AbstractEventLoop) -> None:
        """Belong to *loop* from now on; call :meth:`flush` when it has ended."""
        self._sink.batch(loop)

    def flush(self) -> None:
        """Write what is buffered."""
        self._sink.flush()

    def fileno(self) -> int:
        """Return the descriptor of the sink."""
        return self._sink.fileno()

    def close(self) -> None:
        """Write what is buffered, and close the sink."""
        super().close()
        self._sink.flush()
        self._sink.close()

    def _write(self, level: int, text: str, fields: Fields) -> None:
        if self._json:
            text = self._object(level, text, fields)
        if self._lost:
            self._tell_lost()
        if not self._sink.write(level, text, fields):
            self._lost += 1

    def _tell_lost(self) -> None:
        text = f"{self._lost} messages were lost"
        if self._json:
            text = self._object(LOG_WARNING, text, _NO_FIELDS)
        if self._sink.write(LOG_WARNING, text, _NO_FIELDS):
            self._lost = 0

    def _object(self, level: int, text: str, fields: Fields) -> str:
        now = time.time()
        second = _stamp("%Y-%m-%dT%H:%M:%S", int(now), True)
        return json.dumps(
            {
                "time": f"{second}.{int(now % 1 * 1000):03}Z",
                "level": _NAMES[level],
                "ident": self._ident,
                "pid": _pid(),
                "message": text,
                **fields,
            }
        )


def priority(level: int) -> int:
    """Return the syslog priority of a level of :mod:`logging`."""
    return next((priority for floor, priority in _FLOORS if level >= floor), LOG_DEBUG)


def open_sink(ident: str, *, foreground: bool) -> Sink:
    """Return the journal if stderr is connected to it, else stderr in the *foreground*, else
    syslog."""
    if _leads_to_journal(2):
        return Journal(ident)
    return Stderr(ident) if foreground else Syslog(ident)


def _leads_to_journal(descriptor: int) -> bool:
    """Return whether systemd connected *descriptor* to the journal (systemd.exec(5),
    JOURNAL_STREAM)."""
    file = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"


class _Datagrams:
    """A Unix socket that takes one message in each datagram."""

    bare = False

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def _send(self, message: bytes) -> bool:
        try:
            # By path every time: a restarted daemon has a new socket there.
            self._socket.sendto(message, self._path)
        except OSError:
            return False
        return True

    def batch(self, loop: AbstractEventLoop) -> None:
        """Do nothing: each message is a datagram of its own."""

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Syslog(_Datagrams):
    """Syslog's socket, with messages as syslog(3) writes them with LOG_PID and LOG_DAEMON."""

    structured = False

    def __init__(self, ident: str, path: Path = SYSLOG) -> None:
        super().__init__(path)
        self._ident = ident

    def write(self, priority: int, text: str, fields: Fields) -> bool:
        """Send a datagram for each line of *text*."""
        head = (
            f"<{LOG_DAEMON | priority}>{_stamp('%b %e %H:%M:%S', int(time.time()))}"
            f" {self._ident}[{_pid()}]: "
        )
        sent = [self._send((head + line).encode()) for line in text.splitlines()]
        return all(sent)


class Journal(_Datagrams):
    """systemd's journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

    structured = True

    def __init__(self, ident: str, path: Path = JOURNAL) -> None:
        super().__init__(path)
        self._common = _entry("SYSLOG_IDENTIFIER", ident) + _entry("SYSLOG_FACILITY", 3)

    def write(self, priority: int, text: str, fields: Fields) -> bool:
        """Send one entry; *fields* become FAITH_CLIENT and so on."""
        entry = _entry("MESSAGE", text) + _entry("PRIORITY", priority) + self._common
        return self._send(
            entry + b"".join(_entry(f"FAITH_{name.upper()}", fields[name]) for name in fields)
        )


def _entry(name: str, value: str | int | float) -> bytes:
    data = str(value).encode()
    if b"\n" in data:
        return name.encode() + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


class Stderr:
    """Lines on standard error, with time and program unless they are *bare*."""

    structured = False

    bare = False

    def __init__(self, ident: str, descriptor: int = 2) -> None:
        self._ident = ident
        self._descriptor = _without_waiting(descriptor)
        self._lines: list[str] = []  # of this turn
        self._pending = bytearray()  # encoded lines
        self._loop: AbstractEventLoop | None = None
        self._scheduled = False

    def batch(self, loop: AbstractEventLoop) -> None:
        """Write once in each turn of *loop* from now on."""
        self._loop = loop

    def write(self, priority: int, text: str, fields: Fields) -> bool:
        """Write or buffer a line; return False when the buffer is full."""
        if len(self._lines) >= _LINES:
            self._gather()
        if len(self._pending) > _PENDING:
            self.flush()
            if len(self._pending) > _PENDING:
                return False
        self._lines.append(text)
        if self._loop is None:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)
        return True

    def flush(self) -> None:
        """Write what is buffered; what cannot be written now, for any reason, stays buffered."""
        self._scheduled = False
        self._gather()
        try:
            while self._pending:
                del self._pending[: os.write(self._descriptor, self._pending)]
        except OSError:
            if self._loop is not None and not self._loop.is_closed():
                self._scheduled = True
                self._loop.call_later(_RETRY, self.flush)

    def _gather(self) -> None:
        """Encode the lines of this turn with time and program, all at once: there can be many."""
        if not self._lines:
            return
        head = ""
        if not self.bare:
            stamp = _stamp("%Y-%m-%d %H:%M:%S", int(time.time()))
            head = f"{stamp} {self._ident}[{_pid()}]: "
        lines = f"\n{head}".join(self._lines)
        self._pending += f"{head}{lines}\n".encode()
        self._lines.clear()

    def fileno(self) -> int:
        """Return the sink's own descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the sink's own descriptor."""
        os.close(self._descriptor)


def _without_waiting(descriptor: int) -> int:
    """Return a descriptor of the same pipe or terminal with O_NONBLOCK, which others do not share.

    A file needs none; a socket is duplicated as it is.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return os.dup(descriptor)


@lru_cache(maxsize=1)
def _pid() -> int:
    return os.getpid()  # cached: a system call for every line otherwise


os.register_at_fork(after_in_child=_pid.cache_clear)


@lru_cache(maxsize=8)
def _stamp(form: str, second: int, utc: bool = False) -> str:
    return time.strftime(form, time.gmtime(second) if utc else time.localtime(second))
