"""Replies: which lines belong together, and what they say in three digits (RFC 959 §4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.ftp.telnet import Line

_FIRST = re.compile(rb"([1-5]\d\d)(?:(-)|(?!\d))")
_LAST = re.compile(rb"([1-5]\d\d)(?=[\sA-Za-z]|\Z)")
"""Servers exist that write a tab for the space behind the code, or nothing."""


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """A line, or a piece of one, of a reply with that *code*; 0 for what is no part of any.

    *starts* is true where the reply does, *ends* where it does, *fresh* where a line does.
    """

    data: bytes
    code: int
    starts: bool
    ends: bool
    fresh: bool

    @property
    def completes(self) -> bool:
        """Return whether this line ends the final reply to a command: a 1yz is not final."""
        return self.ends and self.code >= 200


class ReplyReader:
    """Follows a server through its replies.

    A reply of several lines ends with the code that it began with.  Servers exist that end it with
    another one; but such a line may also be part of the text, like ``200 files`` in a greeting.
    """

    def __init__(self) -> None:
        self._code = 0  # of the reply that the line belongs to
        self._open = False  # and of which more lines come
        self._last = False  # this line is its last
        self._other = 0  # the code of a line that may have been its last

    @property
    def code(self) -> int:
        """Of the reply that was read last, or is open; 0 for none."""
        return self._code

    @property
    def may_be_over(self) -> bool:
        """Return whether a reply is open of which the newest line may be the last."""
        return self._open and self._other != 0

    def read(self, line: Line) -> ReplyLine:
        """Return the next *line* with its place in a reply."""
        starts = line.starts and not self._open
        if line.starts:
            self._place(line.data)
        ends = self._last and line.ends
        return ReplyLine(line.data, self._code, starts and self._code != 0, ends, line.starts)

    def close(self) -> None:
        """Have the reply be over that is open: the next line begins another one."""
        self._open = False
        self._other = 0

    def state(self) -> list[int]:
        """Return the state for :meth:`restore` of another reader, fit for JSON."""
        return [self._code, self._open, self._last, self._other]

    def restore(self, state: list[int]) -> None:
        """Go on where the one stopped whose :meth:`state` this is."""
        self._code = state[0]
        self._open, self._last = map(bool, state[1:3])
        self._other = state[3] if state[3:] else 0

    def _place(self, data: bytes) -> None:
        if self._open:
            found = _LAST.match(data)
            code = int(found[1]) if found else 0
            self._last = code == self._code
            self._other = 0 if self._last else code
        else:
            self._code, self._last = read_code(data)
        self._open = self._code != 0 and not self._last


def read_code(data: bytes) -> tuple[int, bool]:
    """The code that a line begins with, or 0; and whether a reply of one line would be over."""
    found = _FIRST.match(data)
    return (int(found[1]), not found[2]) if found else (0, False)
