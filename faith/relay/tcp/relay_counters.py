"""Counters and gauges of one worker's relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import GAUGE, HISTOGRAM, Family, Layout, add
from faith.kernel.shared.shared_counters import Buckets
from faith.proxy.proxy_events import METHODS
from faith.translation.reasons import (
    ASSOCIATION,
    CLOSED,
    CONNECTION,
    END,
    LOST,
    NO_PORT,
    OTHER,
    PROXY,
    REFUSED,
    TIMEOUT,
    UNREACHABLE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.kernel.shared.families import Cells
    from faith.relay.tcp.session import Session

_DIALS = REFUSED, UNREACHABLE, TIMEOUT, NO_PORT
"""Refusals by a proxy when no server could be connected: a session begins after that."""

OPEN = Family("faith_sessions_open", "Sessions that are open, dialling ones included.", GAUGE)
SESSIONS = Family(
    "faith_sessions",
    "Sessions that have ended, by why, as their records say it.",
    label="end",
    values=(*END, OTHER),
)
REFUSALS = Family(
    "faith_refusals",
    "Connections that were refused without a session, by why.",
    label="reason",
    values=(*CONNECTION, *PROXY, *_DIALS, OTHER),
)
BYTES = Family(
    "faith_relayed_bytes",
    "Bytes that a peer's socket took.",
    label="to",
    values=("server", "client"),
)
DIAL = Family(
    "faith_dial_seconds",
    "Seconds from a client's connection to the server's, where that came about.",
    HISTOGRAM,
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
FTP = Family(
    "faith_ftp_connections",
    "FTP control connections, those that became encrypted, and data connections by their mode.",
    label="kind",
    values=("control", "encrypted", "passive", "active"),
)
PROXY_REQUESTS = Family(
    "faith_proxy_requests",
    "Servers that clients of proxies asked for, by method; of HTTP, those that were dialled.",
    label="method",
    values=METHODS,
)
PROXY_SESSIONS = Family(
    "faith_proxy_sessions_open",
    "Open sessions of clients of proxies, greeting ones included.",
    GAUGE,
)
ASSOCIATIONS = Family("faith_associations_open", "Clients of SOCKS5 that send datagrams.", GAUGE)
DATAGRAMS = Family(
    "faith_association_datagrams",
    "Datagrams of these clients that were sent on.",
    label="to",
    values=("server", "client"),
)
DATAGRAM_BYTES = Family(
    "faith_association_bytes",
    "Octets of their payloads.",
    label="to",
    values=("server", "client"),
)
DATAGRAM_REFUSALS = Family(
    "faith_association_refusals",
    "Datagrams of these clients that were refused, or answers to them, by why.",
    label="reason",
    values=(*ASSOCIATION, OTHER),
)
DATAGRAM_LOST = Family(
    "faith_association_lost", "Datagrams of these clients that the kernel refused to send."
)
DATAGRAM_ERRORS = Family(
    "faith_association_errors", "ICMP errors about datagrams of these clients."
)
LAYOUT = Layout(
    *(OPEN, SESSIONS, REFUSALS, BYTES, DIAL, FTP, PROXY_REQUESTS, ASSOCIATIONS, DATAGRAMS),
    *(DATAGRAM_BYTES, DATAGRAM_REFUSALS, DATAGRAM_LOST, DATAGRAM_ERRORS, PROXY_SESSIONS),
)

_OPEN = LAYOUT.start(OPEN)
_ENDS = LAYOUT.cells(SESSIONS)
_REFUSALS = LAYOUT.cells(REFUSALS)
_TO_SERVER, _TO_CLIENT = LAYOUT.cells(BYTES).values()
_FTP = LAYOUT.cells(FTP)
_PROXY_REQUESTS = LAYOUT.cells(PROXY_REQUESTS)
_ASSOCIATIONS = LAYOUT.start(ASSOCIATIONS)
_UP, _DOWN = LAYOUT.cells(DATAGRAMS).values()
_UP_BYTES, _DOWN_BYTES = LAYOUT.cells(DATAGRAM_BYTES).values()
_DATAGRAM_REFUSALS = LAYOUT.cells(DATAGRAM_REFUSALS)
_PROXY_SESSIONS = LAYOUT.start(PROXY_SESSIONS)
_DATAGRAM_LOST, _DATAGRAM_ERRORS = LAYOUT.start(DATAGRAM_LOST), LAYOUT.start(DATAGRAM_ERRORS)


class Counters:
    """Counts in *cells*, which are the caller's, of `LAYOUT`, or else nobody's."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = [0] * LAYOUT.size if cells is None else cells
        self.dialled: Callable[[float], None] = Buckets(self._cells, LAYOUT, DIAL).add
        """Called with the seconds it took until a server was connected."""

    @property
    def open(self) -> int:
        """Sessions that have begun and not ended."""
        return self._cells[_OPEN]

    def opened(self) -> None:
        """A session has begun, or was taken over."""
        self._cells[_OPEN] += 1

    def moved(self, session: Session) -> None:
        """Add what *session* has moved since this was called last."""
        cells = self._cells
        told = session.counted
        to_server, to_client = session.counted = session.moved
        cells[_TO_SERVER] += to_server - told[0]
        cells[_TO_CLIENT] += to_client - told[1]

    def handed_over(self, session: Session) -> None:
        """*session* goes on elsewhere, and is counted there."""
        self._cells[_OPEN] -= 1
        self.moved(session)

    def ended(self, session: Session) -> None:
        """*session* is over."""
        cells = self._cells
        cells[_OPEN] -= 1
        cells[_ENDS[CLOSED] if session.end == CLOSED else _end(session.end or OTHER)] += 1
        self.moved(session)

    def left(self) -> None:
        """A client of a proxy has gone, after answers that were counted."""
        self._cells[_OPEN] -= 1

    def refused(self, why: str) -> None:
        """A connection got no session; after a colon *why* may go into details."""
        self._cells[_REFUSALS.get(why.partition(":")[0], _REFUSALS[OTHER])] += 1

    def ftp(self, kind: str) -> None:
        """The FTP ALG has a connection more."""
        self._cells[_FTP[kind]] += 1

    def proxy_request(self, method: str) -> None:
        """A client of a proxy has asked for a server by that *method*."""
        self._cells[_PROXY_REQUESTS[method]] += 1

    def proxied(self, change: int) -> None:
        """*change* sessions of clients of proxies have begun, or gone if negative."""
        self._cells[_PROXY_SESSIONS] += change

    def associations(self, count: int) -> None:
        """Set the number of associations."""
        self._cells[_ASSOCIATIONS] = count

    def datagram_to_server(self, octets: int) -> None:
        """An association has sent a datagram on, with *octets* of payload."""
        self._cells[_UP] += 1
        self._cells[_UP_BYTES] += octets

    def datagram_to_client(self, octets: int) -> None:
        """An association has passed on an answer, with *octets* of payload."""
        self._cells[_DOWN] += 1
        self._cells[_DOWN_BYTES] += octets

    def datagram_refused(self, why: str) -> None:
        """An association has dropped a datagram."""
        self._cells[_DATAGRAM_REFUSALS.get(why, _DATAGRAM_REFUSALS[OTHER])] += 1

    def datagram_lost(self) -> None:
        """The kernel has refused to send a datagram of an association."""
        self._cells[_DATAGRAM_LOST] += 1

    def datagram_error(self) -> None:
        """An ICMP error about a datagram of an association has arrived."""
        self._cells[_DATAGRAM_ERRORS] += 1

    def lost(self) -> None:
        """The process whose cells these are is dead, and its sessions with it."""
        add(self._cells, _ENDS[LOST], self.open)
        self._cells[_OPEN] = self._cells[_ASSOCIATIONS] = self._cells[_PROXY_SESSIONS] = 0


def _end(end: str) -> int:
    """The cell of an end; errors that are rare share one for each side."""
    cell = _ENDS.get(end)
    if cell is None:
        cell = _ENDS.get(f"{end.partition(' ')[0]} failed", _ENDS[OTHER])
    return cell
