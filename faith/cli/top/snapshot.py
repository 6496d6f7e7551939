"""The state of ``faith top`` from one reading to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.cli.top import filter_words, panes, quantities
from faith.cli.top.rates import Rates

if TYPE_CHECKING:
    from typing import Any

    from faith.cli.top.arrangement import Arrangement
    from faith.cli.top.rates import Row
    from faith.cli.top.reading import Reading
    from faith.daemon.observe.status_report import Daemon

_CONNECTIONS = "relay", "kernel"
"""The paths that sessions go by; datagrams and pings are none."""


class Snapshot:
    """The last reading with rates: the *daemon*, all *rows*, and what happened or failed.

    After a reading without a daemon, the last one is kept, but no rows: they may have ended.
    """

    def __init__(self) -> None:
        self._rates = Rates()
        self._begun: tuple[float, int] | None = None
        self.daemon: Daemon | None = None
        self.rows: list[Row] = []
        self.error = ""
        self.notice = ""
        self.new_rate: float | None = None
        """Connections that began a second, of all clients."""
        self.is_current = False

    def accept(self, reading: Reading) -> None:
        """Go on with *reading*; changes of the daemon and of its processes become the notice."""
        self.error = reading.error
        self.is_current = reading.daemon is not None
        self.rows = self._rates.rows(reading.sessions, reading.at)
        if reading.daemon is None:
            self._begun = None
            return
        if happened := list(panes.changes(self.daemon, reading.daemon)):
            self.notice = "; ".join(happened)
        ways = (path for path in reading.daemon.traffic if path.path in _CONNECTIONS)
        begun = reading.at, sum(path.begun for path in ways)
        self.new_rate = None
        if self._begun and begun[1] >= self._begun[1] and begun[0] > self._begun[0]:
            self.new_rate = (begun[1] - self._begun[1]) / (begun[0] - self._begun[0])
        self._begun = begun
        self.daemon = reading.daemon

    def arranged(self, arrangement: Arrangement) -> list[Row]:
        """Return the rows as *arrangement* has them."""
        return arrangement.arrange(self.rows)

    def summary(self, wanted: dict[str, Any]) -> str:
        """Return the lines above the list: the daemon, and the sums of the rows."""
        if self.daemon is None:
            return self.error or "no reading yet"
        sent = sum(row.sent_rate or 0.0 for row in self.rows)
        received = sum(row.received_rate or 0.0 for row in self.rows)
        new = "" if self.new_rate is None else f", {self.new_rate:.0f} new/s"
        chosen = f", {len(self.rows):,} of {filter_words.words(wanted)}" if wanted else ""
        moved = f"sent {quantities.octets(sent)}/s, received {quantities.octets(received)}/s"
        gone = "" if self.is_current else ", no answer"
        return (
            f"{panes.summary(self.daemon)}{gone}\n"
            f"{self.daemon.sessions:,} open{new}{chosen}, {moved}"
        )

    def message(self) -> str:
        """Return what went wrong with the last reading, or else what happened before it."""
        return self.error or self.notice
