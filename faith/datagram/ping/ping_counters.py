"""The metric families of ping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import STATE, Family, Layout
from faith.translation.reasons import OTHER, PING

if TYPE_CHECKING:
    from faith.kernel.shared.families import Cells

REQUESTS = Family("faith_ping_requests", "Echo requests sent on.", label="to", values=("v4", "v6"))
REPLIES = Family("faith_ping_replies", "Echo replies sent back.", label="from", values=("v4", "v6"))
ERRORS = Family(
    "faith_ping_errors",
    "ICMP errors about echo requests, translated and sent to the client.",
    label="from",
    values=("v4", "v6"),
)
REFUSALS = Family(
    "faith_ping_refusals",
    "Echo requests refused, by reason.",
    label="reason",
    values=(*PING, OTHER),
)
IDENTIFIERS = Family("faith_ping_identifiers", "Identifiers in use.", STATE)
BLOCKED = Family(
    "faith_ping_blocked",
    "1 where the host's own firewall drops what is sent for pings, by the last that was sent.",
    STATE,
    label="to",
    values=("v4", "v6"),
)
LAYOUT = Layout(REQUESTS, REPLIES, ERRORS, REFUSALS, IDENTIFIERS, BLOCKED)

_REQUESTS = LAYOUT.cells(REQUESTS)
_REPLIES = LAYOUT.cells(REPLIES)
_ERRORS = LAYOUT.cells(ERRORS)
_REFUSALS = LAYOUT.cells(REFUSALS)
_IDENTIFIERS = LAYOUT.start(IDENTIFIERS)
_BLOCKED = LAYOUT.cells(BLOCKED)

WARNINGS = {
    "v6": (
        "the host's firewall drops what is sent for pings to IPv6: connection tracking knows no"
        " answer of a mapped host, so accept icmpv6 type { echo-reply, echo-request } from the"
        " prefixes in the output chain"
    ),
    "v4": (
        "the host's firewall drops what is sent for pings to IPv4: accept icmp type { echo-reply,"
        " echo-request } in the output chain"
    ),
}
"""The warnings for an operator, by the legs of `PingCounters.blocked_legs`."""


class PingCounters:
    """Counters in *cells* of `LAYOUT`, which the caller may share, or else in a list of
    their own."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = [0] * LAYOUT.size if cells is None else cells

    def asked(self, leg: str) -> None:
        """Count a request sent to "v4" or "v6"."""
        self._cells[_REQUESTS[leg]] += 1

    def replied(self, leg: str) -> None:
        """Count a reply from "v4" or "v6" that was sent on."""
        self._cells[_REPLIES[leg]] += 1

    def failed(self, leg: str) -> None:
        """Count an error from "v4" or "v6" that was sent on."""
        self._cells[_ERRORS[leg]] += 1

    def refused(self, why: str) -> None:
        """Count a request refused for the reason *why*."""
        self._cells[_REFUSALS.get(why, _REFUSALS[OTHER])] += 1

    def in_use(self, identifiers: int) -> None:
        """Set the number of identifiers in use."""
        self._cells[_IDENTIFIERS] = identifiers

    def blocked(self, leg: str, dropped: bool) -> bool:
        """Record whether the firewall *dropped* what was sent to "v4" or "v6"; return whether that
        is new."""
        before, self._cells[_BLOCKED[leg]] = self._cells[_BLOCKED[leg]], int(dropped)
        return before != dropped

    @property
    def blocked_legs(self) -> list[str]:
        """The legs of which the firewall dropped what was sent last."""
        return [leg for leg, cell in _BLOCKED.items() if self._cells[cell]]
