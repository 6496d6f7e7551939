"""Replies: which lines belong together, and what they say in three digits (RFC 959 §4.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.ftp.telnet import Line

_FIRST = re.compile(rb"([1-5]\d\d)(?:(-)|[ \r\n])")


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
        """Whether this is the last that the server says to a command: 1yz is not."""
        return self.ends and self.code >= 200


class ReplyReader:
    """Follows a server through its replies."""

    def __init__(self) -> None:
        self._code = 0  # of the reply that the line belongs to
        self._open = False  # and of which more lines come
        self._last = False  # this line is its last

    def read(self, line: Line) -> ReplyLine:
        """What the next line is."""
        starts = line.starts and not self._open
        if line.starts:
            self._place(line.data)
        ends = self._last and line.ends
        return ReplyLine(line.data, self._code, starts and self._code != 0, ends, line.starts)

    def state(self) -> list[int]:
        """What :meth:`restore` makes another one like this from."""
        return [self._code, self._open, self._last]

    def restore(self, state: list[int]) -> None:
        """Go on where the one stopped whose :meth:`state` this is."""
        self._code = state[0]
        self._open, self._last = map(bool, state[1:])

    def _place(self, data: bytes) -> None:
        found = _FIRST.match(data)
        if self._open:
            self._last = found is not None and int(found[1]) == self._code and not found[2]
        else:
            self._code = int(found[1]) if found else 0
            self._last = found is not None and not found[2]
        self._open = self._code != 0 and not self._last
