"""Views of flows, for records and for lists of sessions, and the reports made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from faith.kernel.flow.layout import (
    CLOSED,
    ESTABLISHED,
    FIN4,
    FIN6,
    RST6,
    SUSPECT,
    SYNACK,
    Slot,
)
from faith.translation.address import text
from faith.translation.reasons import CLIENT_ENDS, REFUSED, SERVER_ENDS
from faith.translation.reasons import CLOSED as BOTH_CLOSED

if TYPE_CHECKING:
    Endpoint = tuple[str, int]

RECORDED = 1 << 16
"""State: the end of this closed flow is recorded.  The program neither sets nor clears the bit."""

CLIENT_RESET, SERVER_RESET = CLIENT_ENDS[0], SERVER_ENDS[0]

_SECOND = 1e9
_WORDS = (
    (CLOSED, "closed"),
    (SUSPECT, "suspect"),
    (FIN6 | FIN4, "half-closed"),
    (ESTABLISHED, "established"),
    (SYNACK, "answered"),
)


def why_closed(state: int) -> str:
    """Return the end of a closed flow that is in *state*, by the packets that closed it.

    A reset after both FINs only answers what came late.
    """
    if state & (FIN6 | FIN4) == FIN6 | FIN4:
        return BOTH_CLOSED
    if state & RST6:
        return CLIENT_RESET
    return SERVER_RESET if state & SYNACK else REFUSED


class FlowView:
    """A flow as it was at the time *now*, in ns of CLOCK_MONOTONIC; *slot* is its state."""

    __slots__ = ("now", "slot")

    def __init__(self, slot: Slot, now: int) -> None:
        self.slot = slot
        self.now = now

    @property
    def client(self) -> Endpoint:
        """The client's endpoint, as text and port."""
        return text(self.slot.client), self.slot.client_port

    @property
    def mapped(self) -> Endpoint:
        """The endpoint that the client connects to."""
        return text(self.slot.mapped), self.slot.server_port

    @property
    def source(self) -> Endpoint:
        """The endpoint that the server sees."""
        return text(self.slot.source), self.slot.source_port

    @property
    def server(self) -> Endpoint:
        """The server's endpoint."""
        return text(self.slot.server), self.slot.server_port

    @property
    def sent(self) -> int:
        """Octets from the client."""
        return self.slot.from_client.octets

    @property
    def received(self) -> int:
        """Octets from the server."""
        return self.slot.from_server.octets

    @property
    def packets(self) -> tuple[int, int]:
        """Packets from the client and from the server."""
        return self.slot.from_client.packets, self.slot.from_server.packets

    @property
    def state(self) -> str:
        """The state in a word."""
        return next((word for bits, word in _WORDS if self.slot.state & bits), "opening")

    @property
    def age(self) -> float:
        """Seconds since the flow began."""
        return (self.now - self.slot.started) / _SECOND

    @property
    def idle(self) -> float:
        """Seconds since the last packet of either side."""
        return max(0.0, (self.now - self.last) / _SECOND)

    @property
    def last(self) -> int:
        """The time of the last packet of either side, in ns of CLOCK_MONOTONIC."""
        return max(self.slot.from_client.last, self.slot.from_server.last)

    @property
    def serial(self) -> int:
        """The number by which the flow is killed."""
        return self.slot.generation


class FlowReports(Protocol):
    """A receiver of reports of flows."""

    def begun(self, view: FlowView) -> None:
        """Report a new flow."""

    def ended(self, view: FlowView, why: str) -> None:
        """Report the end of a flow."""

    def refused(self, why: str, client: bytes, client_port: int, mapped: bytes, port: int) -> None:
        """Report a SYN that was refused; addresses are packed."""


class NoReports:
    """A receiver that drops every report."""

    def begun(self, view: FlowView) -> None:
        """Do nothing."""

    def ended(self, view: FlowView, why: str) -> None:
        """Do nothing."""

    def refused(self, why: str, client: bytes, client_port: int, mapped: bytes, port: int) -> None:
        """Do nothing."""


NO_REPORTS = NoReports()
