"""Where messages and session records go: the journal, syslog or standard error.

Nothing here ever waits: what its receiver has no room for is dropped and counted, and the count is
told when there is room again.
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
"""The level between INFO and WARNING, for what an operator wants to see of a day."""
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
_LINES = 512  # of one turn, before they are made octets
_RETRY = 0.2  # seconds until they are tried again


class Sink(Protocol):
    """A place for messages.

    *structured*: it keeps fields by name.  *bare* messages say themselves when and who.
    """

    structured: bool
    bare: bool

    def write(self, priority: int, text: str, fields: Fields) -> bool:
        """Pass on one message of a syslog *priority*; False when it had to be dropped."""

    def batch(self, loop: AbstractEventLoop) -> None:
        """Write no more than once a turn of *loop*, where that saves anything."""

    def flush(self) -> None:
        """Write what is kept."""

    def close(self) -> None:
        """Release the descriptor."""


class Log(logging.Handler):
    """Writes what is logged, and the records of sessions, to *sink* in one of `FORMS`.

    *ident* is the name to write under, KAME's ``faithd telnet``.
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
        """The one of `FORMS` that it writes."""
        return "json" if self._json else "text"

    @form.setter
    def form(self, form: str) -> None:
        self._sink.flush()  # what it keeps is of the old form
        self._json = form == "json"
        self._sink.bare = self._json

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message of :mod:`logging`."""
        try:
            self._write(priority(record.levelno), self.format(record), _NO_FIELDS)
        except Exception:  # noqa: BLE001 - a bad message must not end what it is about
            self.handleError(record)

    def record(self, record: Record) -> None:
        """Write what became of a connection; a refusal by rule in KAME's words, at KAME's level."""
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
        """Write what is kept."""
        self._sink.flush()

    def close(self) -> None:
        """Write what is kept, and close the sink."""
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
    """The syslog priority of a level of :mod:`logging`."""
    return next((priority for floor, priority in _FLOORS if level >= floor), LOG_DEBUG)


def open_sink(ident: str, *, foreground: bool) -> Sink:
    """The journal if standard error leads there, standard error in the *foreground*, or syslog."""
    if _leads_to_journal(2):
        return Journal(ident)
    return Stderr(ident) if foreground else Syslog(ident)


def _leads_to_journal(descriptor: int) -> bool:
    """Whether systemd connected *descriptor* to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    file = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"


class _Datagrams:
    """A Unix socket that takes a message a datagram."""

    bare = False

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def _send(self, message: bytes) -> bool:
        try:
            # By its path every time: when the daemon there was restarted, nothing is to be mended.
            self._socket.sendto(message, self._path)
        except OSError:
            return False
        return True

    def batch(self, loop: AbstractEventLoop) -> None:
        """Nothing: a message is a datagram."""

    def flush(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Syslog(_Datagrams):
    """Syslog's socket, as syslog(3) writes to it with LOG_PID and LOG_DAEMON."""

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
    """Lines on standard error, with time and name unless they are *bare*."""

    structured = False

    bare = False

    def __init__(self, ident: str, descriptor: int = 2) -> None:
        self._ident = ident
        self._descriptor = _without_waiting(descriptor)
        self._lines: list[str] = []  # of this turn
        self._pending = bytearray()  # lines as they are written
        self._loop: AbstractEventLoop | None = None
        self._scheduled = False

    def batch(self, loop: AbstractEventLoop) -> None:
        """From now on write once a turn of *loop*."""
        self._loop = loop

    def write(self, priority: int, text: str, fields: Fields) -> bool:
        """Write or keep a line; False when too much is kept already."""
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
        """Write what is kept; what cannot be written now, for whatever reason, is kept on."""
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
        """Give the lines of this turn their time and name, all at once: there can be many."""
        if not self._lines:
            return
        head = ""
        if not self.bare:
            stamp = _stamp("%Y-%m-%d %H:%M:%S", int(time.time()))
            head = f"{stamp} {self._ident}[{_pid()}]: "
        lines = f"\n{head}".join(self._lines)
        self._pending += f"{head}{lines}\n".encode()
        self._lines.clear()

    def close(self) -> None:
        """Close the descriptor, which is not the caller's."""
        os.close(self._descriptor)


def _without_waiting(descriptor: int) -> int:
    """A descriptor of the same pipe or terminal whose O_NONBLOCK is not shared with others.

    A file needs none; a socket is taken as it is.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return os.dup(descriptor)


@lru_cache(maxsize=1)
def _pid() -> int:
    return os.getpid()  # a system call, for every line


os.register_at_fork(after_in_child=_pid.cache_clear)


@lru_cache(maxsize=8)
def _stamp(form: str, second: int, utc: bool = False) -> str:
    return time.strftime(form, time.gmtime(second) if utc else time.localtime(second))
