"""The selection of records: a carrier's log must be small and discreet, and yet be evidence."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.daemon.observe.message_ids import LEFT_OUT
from faith.relay.tcp.record import UDP
from faith.translation.reasons import CLOSED, EXPIRED, FAILED_DIALS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.tcp.record import Record
    from faith.relay.tcp.session import Session

log = logging.getLogger("faith.relay")

NAMED = 3
"""The clients that a summary names for each reason; the others are added up."""
_MOST_CLIENTS = 4096  # that are told apart in a second
_GOOD = frozenset((CLOSED, EXPIRED))


@dataclass(frozen=True)
class Recording:
    """Settings of records.

    Of sessions that ended well one in *sample* is recorded, of others every one (RFC 7269 §5.1).
    Without *destinations* records do not contain where clients went (RFC 6888 REQ-12).  *refusals*
    is how many refused connections, failed dials or refused datagrams with the same reason a
    process records in a second, half of them for one client; 0 for all.  With *starts* there is a
    record of the start of every session too, and with *flows* UDP flows have records.
    """

    sample: int = 1
    destinations: bool = True
    refusals: int = 20
    starts: bool = False
    flows: bool = True


class Records:
    """A filter of records: passes those that *recording* selects on to *write*.

    Records that are left out are counted, and the count is logged a second later.  *recording* may
    change.
    """

    def __init__(
        self, loop: AbstractEventLoop, recording: Recording, write: Callable[[Record], None]
    ) -> None:
        self._loop = loop
        self.recording = recording
        self._write = write
        self._good = 0
        self._met: Counter[str] = Counter()  # in the current second, by reason
        self._of_client: Counter[tuple[str, str]] = Counter()  # by reason and address
        self._left_out: dict[str, Counter[tuple[str, str]]] = {}  # by what, reason and address

    def __call__(self, record: Record) -> None:
        """Write *record* if it is selected."""
        end = record.end
        if record.server is not None and record.protocol == UDP and not self.recording.flows:
            return
        if not end:
            self.start(record)
            return
        if end in _GOOD:
            self._good += 1
            if self._good % self.recording.sample:
                return
        elif record.server is None:
            what = "datagrams" if record.protocol == UDP else "connections"
            if not self.admits(end, record.client[0], f"{what} were refused"):
                return
        elif end in FAILED_DIALS and not self.admits(end, record.client[0], "sessions ended"):
            return
        self._record(record)

    def begun(self, session: Session) -> None:
        """Write the record of the start of *session*, if that is wanted."""
        if self.recording.starts:
            self._record(session.start_record(self._loop.time()))

    def start(self, record: Record) -> None:
        """Write *record* of the start of a flow, if that is wanted."""
        if self.recording.starts:
            self._record(record)

    def admits(self, why: str, client: str, what: str) -> bool:
        """Return whether one more record of this reason and client fits into the current second.

        If not, it is counted; *what* says in the summary what happened.  Details behind a colon are
        no part of the reason: a client may have as many as it can make up.
        """
        why = why.partition(":")[0]
        most = self.recording.refusals
        if not most:
            return True
        if not self._met and not self._left_out:
            self._loop.call_later(1.0, self.sum_up)
        key = why, client
        if self._met[why] < most and self._of_client[key] < (most + 1) // 2:
            self._met[why] += 1
            self._of_client[key] += 1
            return True
        left_out = self._left_out.setdefault(what, Counter())
        left_out[key if key in left_out or len(left_out) < _MOST_CLIENTS else (why, "")] += 1
        return False

    def sum_up(self) -> None:
        """Log how many records were left out in the last second."""
        left_out, self._left_out = self._left_out, {}
        self._met.clear()
        self._of_client.clear()
        for what, counts in left_out.items():
            noun, _, verb = what.partition(" ")
            for why in dict.fromkeys(why for why, _ in counts):
                for whom, count in _by_client(why, counts):
                    text = "%d more %s of %s %s: %s"
                    log.warning(text, count, noun, whom, verb, why, extra={"event": LEFT_OUT})

    def _record(self, record: Record) -> None:
        record.discreet = not self.recording.destinations
        self._write(record)


def _by_client(why: str, counts: Counter[tuple[str, str]]) -> list[tuple[str, int]]:
    """Return the number left out for the reason *why*, of `NAMED` clients and of all others."""
    found = [(client, count) for (reason, client), count in counts.most_common() if reason == why]
    named = [one for one in found if one[0]][:NAMED]
    rest = [one for one in found if one not in named]
    if not rest:
        return named
    whom = f"{len(rest)} other clients" if named else "others"
    return [*named, (whom, sum(count for _, count in rest))]
