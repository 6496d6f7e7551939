"""The sessions of a process written down, a few in every turn of its loop."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.json import Encoder

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from typing import Any

SLICE = 200
"""Sessions a turn: about 1 ms, which others do not notice."""

_encode = Encoder().encode_lines


class SessionDump:
    """Writes *sessions*, by their fields, to a file in memory, as JSON lines.

    None stands for a session that is not listed, as one that has ended meanwhile.  *done* is called
    with the descriptor of the file, which is closed afterwards.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sessions: Iterator[dict[str, Any] | None],
        done: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._left = sessions
        self._done = done
        self._file = os.memfd_create("sessions", os.MFD_CLOEXEC)
        self._go_on()

    def _go_on(self) -> None:
        some = list(islice(self._left, SLICE))
        if some:
            os.write(self._file, _encode([one for one in some if one]))
            self._loop.call_soon(self._go_on)
            return
        self._done(self._file)
        os.close(self._file)
