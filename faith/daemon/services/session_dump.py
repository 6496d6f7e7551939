"""The sessions of a worker written down, a few in every turn of its loop."""

from __future__ import annotations

import json
import os
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.relay import Relay

SLICE = 200
"""Sessions a turn: about 2 ms, which others do not notice."""


class SessionDump:
    """Writes the sessions of *relay* to a file in memory, as JSON lines.

    *done* is called with its descriptor, which is closed afterwards.
    """

    def __init__(self, loop: AbstractEventLoop, relay: Relay, done: Callable[[int], None]) -> None:
        self._loop = loop
        self._relay = relay
        self._done = done
        self._left = iter(relay.sessions())
        self._file = os.memfd_create("sessions", os.MFD_CLOEXEC)
        self._go_on()

    def _go_on(self) -> None:
        now = self._loop.time()
        some = list(islice(self._left, SLICE))
        if some:
            there = (session for session in some if session.end is None)
            fields = ({**one.fields(now), "stage": self._relay.stage(one)} for one in there)
            os.write(self._file, "".join(f"{json.dumps(one)}\n" for one in fields).encode())
            self._loop.call_soon(self._go_on)
            return
        self._done(self._file)
        os.close(self._file)
