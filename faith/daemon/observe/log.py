"""Output of log messages and records, as text or JSON, to one of the sinks.

Nothing here ever waits: what its receiver has no room for is kept, and what cannot be kept is
counted; the count is logged when there is room again.
"""

from __future__ import annotations

import json
import logging
import os
import time
import weakref
from syslog import LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_NOTICE, LOG_WARNING
from typing import TYPE_CHECKING

from faith.daemon.observe.datagram_sinks import Journal, Syslog
from faith.daemon.observe.log_counters import LOST, WAITING, settle
from faith.daemon.observe.message_ids import (
    FLOW_END,
    FLOW_START,
    LEFT_OUT,
    LINES_LOST,
    MESSAGE_IDS,
    REFUSAL,
    SESSION_END,
    SESSION_START,
)
from faith.daemon.observe.repeats import PERIOD, Repeats
from faith.daemon.observe.sinks import own_pid, stamp
from faith.daemon.observe.stderr_sink import Stderr
from faith.relay.tcp.record import END, REFUSED, START, TCP, UDP, endpoint
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

    from faith.daemon.observe.sinks import Fields, Later, Sink
    from faith.kernel.shared.families import Cells
    from faith.relay.tcp.record import Record

NOTICE = 25
"""The level between INFO and WARNING, for what an operator wants to see in daily operation."""
logging.addLevelName(NOTICE, "NOTICE")

IDENTIFIER = "faithd"
"""The name of every process in the log, whatever its program, service or role: `journalctl -t`."""
FORMS = ("text", "json")
FINISH = 1.0
"""Seconds for which the end of a process, or an upgrade, waits for lines to be written."""

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
_EVENTS = {
    (TCP, START): SESSION_START,
    (TCP, END): SESSION_END,
    (TCP, REFUSED): REFUSAL,
    (UDP, START): FLOW_START,
    (UDP, END): FLOW_END,
    (UDP, REFUSED): REFUSAL,
}
_MESSAGES = {TCP: "session", UDP: "flow"}


class Log(logging.Handler):
    """The handler that writes log messages and records to *sink* in one of `FORMS`.

    *labels* are fields of every line where there are fields: in JSON and in the journal.
    """

    def __init__(self, sink: Sink, form: str = "text", **labels: str) -> None:
        super().__init__()
        self._sink = sink
        self._labels: dict[str, str] = {}
        self.label(**labels)
        self._json = False
        self._lost = 0  # lines, since the last message about them
        self._repeats = Repeats()
        self._sums_up = False
        self.form = form
        sink.has_room = self._tell_lost
        _logs.add(self)

    @property
    def form(self) -> str:
        """The output form, one of `FORMS`."""
        return "json" if self._json else "text"

    @form.setter
    def form(self, form: str) -> None:
        self._sink.flush()  # buffered lines have the old form
        self._json = form == "json"
        self._sink.bare = self._json

    def label(self, **labels: str) -> None:
        """Have every line from now on say these *labels* as well, as ``role``."""
        self._labels |= labels
        self._sink.label(self._labels)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message of :mod:`logging`; its attribute ``event`` is a key of `MESSAGE_IDS`."""
        try:
            event = getattr(record, "event", "")
            if event or record.levelno <= logging.DEBUG or self._admits(str(record.msg)):
                self._write(priority(record.levelno), self.format(record), _NO_FIELDS, event)
        except Exception:  # noqa: BLE001 - a bad message must not end what it is about
            self.handleError(record)

    def record(self, record: Record) -> None:
        """Write the record of a connection or flow; a refusal by rule in KAME's words, and at
        KAME's level."""
        level, text, fields = LOG_INFO, "", _NO_FIELDS
        if record.end in _NOT_PERMITTED:
            asked = record.asked or record.mapped
            to = f"to {endpoint(asked)} " if not record.discreet else ""
            what = "" if record.protocol == TCP else "of UDP "
            what += f"by {record.method} " if record.method else ""
            text = (
                f"translation {what}{to}not permitted for {endpoint(record.client)}: {record.end}"
            )
            level = LOG_ERR
        if self._json or self._sink.structured:
            fields = record.fields()
            event = _EVENTS[record.protocol, record.event]
            message = text or (_MESSAGES[record.protocol] if self._json else record.text())
            self._write(level, message, fields, event)
        else:
            self._write(level, text or record.text(), fields)
        if not record.end:
            self._sink.flush()  # it is for the case that the process is killed, at any moment

    def _admits(self, form: str) -> bool:
        """Return whether a message of this form is to be written, or was alike too often."""
        now = time.monotonic()
        if self._repeats.is_due(now):
            self.sum_up()
        admitted = self._repeats.admits(form, now)
        if not admitted and not self._sums_up:
            self._sums_up = self._sink.call_later(PERIOD, self.sum_up)
        return admitted

    def sum_up(self) -> None:
        """Write how many messages were left out because they were alike."""
        self._sums_up = False
        for form, count in self._repeats.summary().items():
            text = f"{count} more messages were left out: {form}"
            self._write(LOG_WARNING, text, _NO_FIELDS, LEFT_OUT)

    # -- where it is written from ------------------------------------------------------------

    def batch(self, loop: AbstractEventLoop) -> None:
        """Belong to *loop* from now on; call :meth:`flush` when it has ended."""
        self._sink.batch(loop)

    def retry_by(self, later: Later) -> None:
        """Have *later* call for every attempt to write what waits."""
        self._sink.retry_by(later)

    def count_in(self, cells: Cells) -> None:
        """Count in *cells* of `log_counters.LAYOUT` from now on.

        Lines that wait there are those of a process that has ended, and are lost.
        """
        settle(cells)
        for cell in (LOST, WAITING):
            cells[cell] += self._sink.cells[cell]
        self._sink.cells = cells

    def begin_anew(self) -> None:
        """In a forked process: leave to the parent what waits, and what was lost."""
        self._lost = 0
        self._repeats, self._sums_up = Repeats(), False
        self._sink.begin_anew()

    # -- its end -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, for at most `FINISH` seconds, and count the rest as lost."""
        if self in _logs:
            self.sum_up()
            self._lose(self._sink.finish(FINISH))

    def fileno(self) -> int:
        """Return the descriptor of the sink."""
        return self._sink.fileno()

    def close(self) -> None:
        """Write what waits as :meth:`flush` does, and close the sink."""
        super().close()
        if self in _logs:
            self.flush()
            _logs.discard(self)
            self._sink.close()

    def _write(self, level: int, text: str, fields: Fields, event: str = "") -> None:
        if self._json:
            text = self._object(level, text, fields, event)
        if self._lost:
            self._tell_lost()
        if dropped := self._sink.write(level, text, fields, event):
            self._lose(dropped)

    def _lose(self, lines: int) -> None:
        self._lost += lines
        self._sink.cells[LOST] += lines

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if not lost:
            return
        text = f"{lost} log lines were lost" if lost > 1 else "1 log line was lost"
        fields: Fields = {"lost": lost}
        if self._json:
            text = self._object(LOG_WARNING, text, fields, LINES_LOST)
        if self._sink.write(LOG_WARNING, text, fields, LINES_LOST):
            self._lost = lost

    def _object(self, level: int, text: str, fields: Fields, event: str) -> str:
        now = time.time()
        second = stamp("%Y-%m-%dT%H:%M:%S", int(now), True)
        about = {"message_id": MESSAGE_IDS[event]} if event else {}
        return json.dumps(
            {
                "time": f"{second}.{int(now % 1 * 1_000_000):06}Z",
                "level": _NAMES[level],
                "ident": IDENTIFIER,
                "pid": own_pid(),
                **self._labels,
                "message": text,
                **about,
                **fields,
            }
        )


_logs: weakref.WeakSet[Log] = weakref.WeakSet()


def _begin_anew() -> None:
    for one in list(_logs):
        one.begin_anew()


os.register_at_fork(after_in_child=_begin_anew)


# -- the log of this process ---------------------------------------------------------------------


def batch(loop: AbstractEventLoop) -> None:
    """Have the log of this process belong to *loop*; without a log this does nothing."""
    for one in _installed():
        one.batch(loop)


def retry_by(later: Later) -> None:
    """Have *later* call for every attempt to write what waits in the log of this process."""
    for one in _installed():
        one.retry_by(later)


def count_in(cells: Cells) -> None:
    """Have the log of this process count in *cells* of `log_counters.LAYOUT` from now on."""
    for one in _installed():
        one.count_in(cells)


def record(one: Record) -> None:
    """Write a record to the log of this process."""
    for log in _installed():
        log.record(one)


def label(**labels: str) -> None:
    """Have every line of the log of this process say these *labels* as well."""
    for one in _installed():
        one.label(**labels)


def set_form(form: str) -> None:
    """Have the log of this process be of another of `FORMS`."""
    for one in _installed():
        one.form = form


def finish() -> None:
    """Write what waits in the log of this process, which ends or becomes another program."""
    for one in _installed():
        one.flush()


def _installed() -> list[Log]:
    return [one for one in logging.getLogger().handlers if isinstance(one, Log)]


def priority(level: int) -> int:
    """Return the syslog priority of a level of :mod:`logging`."""
    return next((priority for floor, priority in _FLOORS if level >= floor), LOG_DEBUG)


def open_sink(*, foreground: bool) -> Sink:
    """Return the journal if stderr is connected to it, else stderr in the *foreground*, else
    syslog."""
    if _leads_to_journal(2):
        return Journal(IDENTIFIER)
    return Stderr(IDENTIFIER) if foreground else Syslog(IDENTIFIER)


def _leads_to_journal(descriptor: int) -> bool:
    """Return whether systemd connected *descriptor* to the journal (systemd.exec(5),
    JOURNAL_STREAM)."""
    file = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"
