"""The metric families of UDP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import GAUGE, Family, Layout
from faith.translation.reasons import DATAGRAM, OTHER

if TYPE_CHECKING:
    from faith.kernel.shared.families import Cells

DATAGRAMS = Family("faith_udp_datagrams", "Datagrams sent on.", label="to", values=("v4", "v6"))
OCTETS = Family("faith_udp_bytes", "Octets of their payloads.", label="to", values=("v4", "v6"))
ERRORS = Family(
    "faith_udp_errors",
    "ICMP errors about datagrams, translated and sent to their sender.",
    label="from",
    values=("v4", "v6"),
)
LOST = Family("faith_udp_lost", "Datagrams that the kernel refused to send.")
REFUSALS = Family(
    "faith_udp_refusals",
    "Datagrams refused, by reason.",
    label="reason",
    values=(*DATAGRAM, OTHER),
)
FLOWS = Family("faith_udp_flows", "Open flows.", GAUGE)
BEGUN = Family("faith_udp_flows_begun", "Flows begun.")
LAYOUT = Layout(DATAGRAMS, OCTETS, ERRORS, LOST, REFUSALS, FLOWS, BEGUN)

_DATAGRAMS, _OCTETS = LAYOUT.cells(DATAGRAMS), LAYOUT.cells(OCTETS)
_ERRORS, _REFUSALS = LAYOUT.cells(ERRORS), LAYOUT.cells(REFUSALS)
_TO_V4, _TO_V6 = _DATAGRAMS["v4"], _DATAGRAMS["v6"]
_OCTETS_TO_V4, _OCTETS_TO_V6 = _OCTETS["v4"], _OCTETS["v6"]
_LOST, _FLOWS, _BEGUN = map(LAYOUT.start, (LOST, FLOWS, BEGUN))


class UdpCounters:
    """Counters in *cells* of `LAYOUT`, which the caller may share, or else in a list of
    their own."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = [0] * LAYOUT.size if cells is None else cells

    def to_v4(self, octets: int) -> None:
        """Count a datagram sent to an IPv4 host, with *octets* of payload."""
        cells = self._cells
        cells[_TO_V4] += 1
        cells[_OCTETS_TO_V4] += octets

    def to_v6(self, octets: int) -> None:
        """Count a datagram sent to an IPv6 host, with *octets* of payload."""
        cells = self._cells
        cells[_TO_V6] += 1
        cells[_OCTETS_TO_V6] += octets

    def error(self, leg: str) -> None:
        """Count an error from "v4" or "v6" that was sent on."""
        self._cells[_ERRORS[leg]] += 1

    def lost(self) -> None:
        """Count a datagram that the kernel refused to send."""
        self._cells[_LOST] += 1

    def refused(self, why: str) -> None:
        """Count a datagram refused for the reason *why*."""
        self._cells[_REFUSALS.get(why, _REFUSALS[OTHER])] += 1

    def begun(self) -> None:
        """Count a flow that begins."""
        self._cells[_BEGUN] += 1

    def flows(self, count: int) -> None:
        """Set the number of flows."""
        self._cells[_FLOWS] = count
