"""The latest status report at the admin listener: made by the supervisor when somebody asks.

It costs nothing while nobody does, and is made once a second at most, however many ask.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.json import Decoder

from faith.daemon.observe.checked_decoding import checked
from faith.daemon.observe.status_report import PROBE, Report
from faith.daemon.process.channel import close_all
from faith.daemon.process.messages import WantReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel

_decode = checked(Decoder(Report).decode)

TOPIC = "report"
INTERVAL = 1.0
"""Seconds between two reports."""
PATIENCE = 0.5
"""Seconds that a client waits for a new report; then it gets the last, with its time in it."""


class ReportSource:
    """The supervisor's side: gives *publish* what *make* returns, once in `INTERVAL` at most."""

    def __init__(
        self, loop: Loop, make: Callable[[], str], publish: Callable[[str], object]
    ) -> None:
        self._loop = loop
        self._make = make
        self._publish = publish
        self._next = 0.0
        self._is_wanted = False

    def want(self) -> None:
        """Make a report now, or as soon as the time has come."""
        if not self._is_wanted:
            self._is_wanted = True
            self._loop.later(max(0.0, self._next - time.monotonic()), self._tell)

    def _tell(self) -> None:
        self._is_wanted = False
        self._next = time.monotonic() + INTERVAL
        self._publish(self._make())


class LatestReport:
    """The side of the admin process: asks by *channel*, and keeps the last *text*."""

    def __init__(self, channel: ProcessChannel) -> None:
        self.text = b""
        """The last report, as JSON; empty before the first."""
        self._channel = channel
        self._asked = self._received = -INTERVAL
        self._news = asyncio.Event()

    def apply(self, text: str, is_change: bool, descriptors: list[int]) -> None:
        """Keep *text*, a report that has come."""
        close_all(descriptors)
        self.text = text.encode()
        self._received = time.monotonic()
        self._news.set()

    def failed_probes(self) -> list[str]:
        """Return the probes of readiness that fail, by the last report."""
        if not self.text:
            return []
        daemons = _decode(self.text).daemons
        obstacles = (one for daemon in daemons for one in daemon.obstacles)
        return [one for one in obstacles if one.startswith(PROBE)]

    async def refresh(self) -> None:
        """Have a report that is `INTERVAL` old at most, or return when patience is at its end.

        Who asks while the supervisor has not answered yet waits with the first.
        """
        now = time.monotonic()
        if now - self._received < INTERVAL:
            return
        if self._asked <= self._received or now - self._asked >= INTERVAL:
            self._news.clear()
            self._asked = now
            with suppress(OSError):  # the channel is full: the supervisor hangs
                self._channel.send(WantReport())
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._news.wait()
