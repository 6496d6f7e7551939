"""Telnet, as far as the control connection of FTP has it: octets in, lines out (RFC 854).

Option negotiation is refused here and seen by nobody else (RFC 6384 §5): RFC 1123 §4.1.2.12
allows FTP no option at all, and asks for refusals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LIMIT = 8192
"""Octets of a line, its end included, that are kept: two paths of the system's longest."""

IAC = 255
SE, DM, IP, SB, WILL, WONT, DO, DONT = 240, 242, 244, 250, 251, 252, 253, 254
_REFUSALS = {WILL: DONT, DO: WONT}
_FIRST_COMMAND = SE

_LF = 10
_ORDINARY = re.compile(rb"[^\n\xff]*")


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its end; or a piece of one that is longer than LIMIT.

    *starts* and *ends* tell which: both are true of a whole line.  The last one of a stream ends
    where that does, with or without a line feed.  *urgent* if an octet of it was.
    """

    data: bytes
    starts: bool = True
    ends: bool = True
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """IAC IP or IAC DM, in pieces: those that are true end in an urgent octet."""

    pieces: tuple[tuple[bytes, bool], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to an attempt to negotiate, for who made it."""

    data: bytes


Item = Line | Signal | Refusal


class Reader:
    """Takes one direction of the stream apart, as it is asked to.

    An IAC IAC stays one in the line.  So does an IAC that no Telnet command follows: it is the
    letter that it is to those who know nothing of Telnet.
    """

    def __init__(self) -> None:
        self._fed = bytearray()  # and not looked at
        self._mark: int | None = None  # where the urgent octet is in it
        self._line = bytearray()  # of which the end is missing
        self._starts = True
        self._urgent = False
        self._scan: Callable[[], Item | None] = self._text
        self._iac_urgent = False
        self._verb = 0
        self._ended = False

    def __len__(self) -> int:
        """The octets that are kept."""
        return len(self._fed) + len(self._line)

    def feed(self, data: bytes, urgent: bool = False) -> None:
        """Take *data*; if *urgent*, its last octet was urgent.

        As in TCP there is one mark at a time: of two that wait, the later is kept.
        """
        self._fed += data
        if urgent and data:
            self._mark = len(self._fed) - 1

    def end(self) -> None:
        """Take note that nothing more comes: what has no line end is a line all the same."""
        self._ended = True

    @property
    def is_over(self) -> bool:
        """Return whether the stream has ended and all of it was consumed by ``next``."""
        return self._ended and not self._fed and not self._line

    def next(self) -> Item | None:
        """Return the next item, or None if it takes more octets than were fed."""
        while self._fed:
            item = self._scan()
            if item is not None:
                return item
        return self._last() if self._ended else None

    def _last(self) -> Line | None:
        """The line that the end of the stream has cut short; half a negotiation is nothing."""
        line = None
        if self._scan == self._command:
            line = self._add(bytes([IAC]), self._iac_urgent)
        self._scan = self._text
        if line is None and self._line:
            line = Line(bytes(self._line), self._starts, True, self._urgent)
            self._line.clear()
        return line

    def state(self) -> list[Any]:
        """Return the state for :meth:`restore` of another reader, fit for JSON."""
        return [
            self._fed.decode("latin-1"),
            self._mark,
            self._line.decode("latin-1"),
            self._starts,
            self._urgent,
            self._scan.__name__,
            self._iac_urgent,
            self._verb,
            self._ended,
        ]

    def restore(self, state: list[Any]) -> None:
        """Go on where the reader stopped whose :meth:`state` this is."""
        fed, self._mark, line, self._starts, self._urgent, scan, *command = state
        self._iac_urgent, self._verb = command[:2]
        self._ended = bool(command[2:]) and command[2]
        self._fed = bytearray(fed, "latin-1")
        self._line = bytearray(line, "latin-1")
        places = (self._text, self._command, self._option)
        more = (self._subnegotiation, self._subnegotiation_command)
        self._scan = {place.__name__: place for place in (*places, *more)}[scan]

    def rest(self) -> list[tuple[bytes, bool]]:
        """Everything that was fed and not looked at, in pieces of which the last octet is urgent.

        For a stream that ceases to be Telnet, after a whole line.
        """
        pieces = []
        if self._mark is not None:
            pieces.append((self._take(self._mark + 1)[0], True))
        if self._fed:
            pieces.append((self._take(len(self._fed))[0], False))
        return pieces

    def _take(self, count: int) -> tuple[bytes, bool]:
        """The next octets, and whether one of them is urgent."""
        data = bytes(self._fed[:count])
        del self._fed[:count]
        urgent = False
        if self._mark is not None:
            urgent = self._mark < count
            self._mark = None if urgent else self._mark - count
        return data, urgent

    # -- one method for each place to be in --------------------------------------------------

    def _text(self) -> Line | None:
        ordinary = _ORDINARY.match(self._fed)
        assert ordinary is not None
        run = ordinary.end()
        if run == 0 and self._fed[0] == IAC:
            _, self._iac_urgent = self._take(1)
            self._scan = self._command
            return None
        if run < len(self._fed) and self._fed[run] == _LF:
            run += 1
        return self._add(*self._take(min(run, LIMIT - len(self._line))))

    def _add(self, data: bytes, urgent: bool) -> Line | None:
        """Lengthen the line; what it is when that is its end, or its LIMIT is reached.

        CR NUL stands for a CR that is no part of a line's end (RFC 854, RFC 2640 §3.1).
        """
        self._line += data
        self._urgent |= urgent
        ends = self._line[-1] == _LF and self._line[-3:-1] != b"\r\0"
        if not ends and len(self._line) < LIMIT:
            return None
        line = Line(bytes(self._line), self._starts, ends, self._urgent)
        self._line.clear()
        self._starts = ends
        self._urgent = False
        return line

    def _command(self) -> Line | Signal | None:
        self._scan = self._text
        code = self._fed[0]
        if code < _FIRST_COMMAND:
            return self._add(bytes([IAC]), self._iac_urgent)
        _, urgent = self._take(1)
        if code in (IP, DM):
            if self._iac_urgent:
                return Signal(((bytes([IAC]), True), (bytes([code]), urgent)))
            return Signal(((bytes([IAC, code]), urgent),))
        urgent |= self._iac_urgent
        if code == IAC:
            return self._add(bytes([IAC, IAC]), urgent)
        self._urgent |= urgent
        if code == SB:
            self._scan = self._subnegotiation
        elif code in (WILL, WONT, DO, DONT):
            self._verb = code
            self._scan = self._option
        return None

    def _option(self) -> Refusal | None:
        self._scan = self._text
        option, urgent = self._take(1)
        self._urgent |= urgent
        answer = _REFUSALS.get(self._verb)
        return Refusal(bytes([IAC, answer]) + option) if answer else None

    def _subnegotiation(self) -> None:
        """Skip what nobody agreed to, up to IAC SE."""
        end = self._fed.find(IAC)
        _, urgent = self._take(len(self._fed) if end < 0 else end + 1)
        self._urgent |= urgent
        if end >= 0:
            self._scan = self._subnegotiation_command

    def _subnegotiation_command(self) -> None:
        code, urgent = self._take(1)
        self._urgent |= urgent
        self._scan = self._text if code[0] == SE else self._subnegotiation
