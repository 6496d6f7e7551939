"""The metric families of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import GAUGE, Family, Layout
from faith.translation.reasons import (
    CONNECTION,
    END,
    HOPS,
    NO_PORT,
    OTHER,
    UNREACHABLE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from faith.kernel.shared.families import Cells

REFUSAL = (*CONNECTION, NO_PORT, UNREACHABLE, HOPS)
"""Reasons to refuse a SYN."""

BEGUN = Family("faith_flows_begun", "Flows begun.")
ENDED = Family("faith_flows_ended", "Flows ended, by reason.", label="end", values=(*END, OTHER))
REFUSALS = Family(
    "faith_flow_refusals", "SYNs refused, by reason.", label="reason", values=(*REFUSAL, OTHER)
)
SYNS = Family(
    "faith_flow_syns",
    "SYNs that asked for a flow: new, of a flow that is there, or damaged.",
    label="kind",
    values=("new", "repeated", "damaged"),
)
ERRORS = Family(
    "faith_flow_errors", "ICMP errors sent about packets of flows.", label="to", values=("v4", "v6")
)
CARRIED = Family(
    "faith_flow_carried",
    "Packets with fragments, options or extension headers, translated outside the kernel.",
    label="to",
    values=("v4", "v6"),
)
STRAYS = Family("faith_flow_strays", "Packets of no flow.", label="from", values=("v4", "v6"))
LOST = Family(
    "faith_flow_lost", "Packets that the kernel refused to send.", label="leg", values=("v4", "v6")
)
OPEN = Family("faith_flows", "Open flows.", GAUGE)
RESTING = Family("faith_flows_resting", "Closed flows whose source port rests.", GAUGE)
SLOTS = Family("faith_flows_most", "Open flows that the table has places for.", GAUGE)
PACKETS = Family(
    "faith_flow_packets",
    "Packets of flows translated in the kernel.",
    label="from",
    values=("v6", "v4"),
)
OCTETS = Family(
    "faith_flow_bytes",
    "Octets of TCP payload of flows that have ended.",
    label="to",
    values=("server", "client"),
)
LIMITED = Family(
    "faith_flow_syns_limited",
    "SYNs that the program in the kernel dropped beyond a rate, or left to the relay because nobody"
    " attended to them.",
    label="why",
    values=("client rate", "total rate", "unattended"),
)
UNTOLD = Family(
    "faith_flow_events_lost",
    "Events of the program in the kernel that found no room, or exceeded their rate.",
    label="why",
    values=("no room", "rate"),
)
LAYOUT = Layout(
    *(BEGUN, ENDED, REFUSALS, SYNS, ERRORS, CARRIED, STRAYS, LOST, OPEN, RESTING),
    *(SLOTS, PACKETS, LIMITED, UNTOLD, OCTETS),
)

_BEGUN, _ENDED = LAYOUT.start(BEGUN), LAYOUT.cells(ENDED)
_REFUSALS, _SYNS = LAYOUT.cells(REFUSALS), LAYOUT.cells(SYNS)
_NEW = _SYNS["new"]
_ERRORS, _CARRIED = LAYOUT.cells(ERRORS), LAYOUT.cells(CARRIED)
_STRAYS, _LOST = LAYOUT.cells(STRAYS), LAYOUT.cells(LOST)
_OPEN, _RESTING, _SLOTS = (LAYOUT.start(family) for family in (OPEN, RESTING, SLOTS))
_TO_SERVER, _TO_CLIENT = LAYOUT.cells(OCTETS).values()
_OF_PROGRAM = {
    "forwarded_v6": LAYOUT.cells(PACKETS)["v6"],
    "forwarded_v4": LAYOUT.cells(PACKETS)["v4"],
    "limited_client": LAYOUT.cells(LIMITED)["client rate"],
    "limited_total": LAYOUT.cells(LIMITED)["total rate"],
    "unattended": LAYOUT.cells(LIMITED)["unattended"],
    "ring_full": LAYOUT.cells(UNTOLD)["no room"],
    "icmp_limited": LAYOUT.cells(UNTOLD)["rate"],
}
"""The cells of what the program counts, by the names in `faith.kernel.flow.map_kinds`."""


class FlowCounters:
    """Counters in *cells* of `LAYOUT`, which the caller may share, or else in a list of
    their own."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = [0] * LAYOUT.size if cells is None else cells

    def begun(self) -> None:
        """Count a flow that begins, and its SYN."""
        cells = self._cells
        cells[_BEGUN] += 1
        cells[_NEW] += 1

    def ended(self, why: str, sent: int, received: int) -> None:
        """Count a flow that ends for the reason *why*, and its octets from client and server."""
        cells = self._cells
        cells[_ENDED.get(why, _ENDED[OTHER])] += 1
        cells[_TO_SERVER] += sent
        cells[_TO_CLIENT] += received

    def refused(self, why: str) -> None:
        """Count a SYN refused for the reason *why*."""
        self._cells[_REFUSALS.get(why, _REFUSALS[OTHER])] += 1

    def repeated(self) -> None:
        """Count a SYN of a flow that is there, sent once more."""
        self._cells[_SYNS["repeated"]] += 1

    def damaged(self) -> None:
        """Count a SYN that is malformed, or whose checksum is wrong."""
        self._cells[_SYNS["damaged"]] += 1

    def error(self, leg: str) -> None:
        """Count an ICMP error sent to "v4" or "v6"."""
        self._cells[_ERRORS[leg]] += 1

    def carried(self, leg: str) -> None:
        """Count a packet translated by this process and sent to "v4" or "v6"."""
        self._cells[_CARRIED[leg]] += 1

    def stray(self, leg: str) -> None:
        """Count a packet of no flow from "v4" or "v6"."""
        self._cells[_STRAYS[leg]] += 1

    def lost(self, leg: str) -> None:
        """Count a packet to "v4" or "v6" that the kernel refused to send."""
        self._cells[_LOST[leg]] += 1

    def flows(self, count: int, resting: int, most: int) -> None:
        """Set the numbers of open flows, of resting ports, and of open flows at most."""
        cells = self._cells
        cells[_OPEN], cells[_RESTING], cells[_SLOTS] = count, resting, most

    def program(self, before: Mapping[str, int], now: Mapping[str, int]) -> None:
        """Count what the program has counted from *before* until *now*."""
        cells = self._cells
        for name, cell in _OF_PROGRAM.items():
            cells[cell] += now[name] - before[name]
