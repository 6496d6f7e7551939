"""Reports of UDP flows and of refused datagrams, for records."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from faith.datagram.udp.paths import V6ToV4Ends
from faith.kernel.sockets.udp_sockets import own_address
from faith.translation.address import text4, text6

if TYPE_CHECKING:
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.udp.flows import Flow

    Endpoint = tuple[str, int]


class FlowReports(Protocol):
    """A receiver of reports; ``now`` is the clock of the flows."""

    def begun(self, flow: Flow, now: float) -> None:
        """Report that the client of *flow* has a port from now on."""

    def ended(self, flow: Flow, now: float, why: str) -> None:
        """Report the end of *flow*, which still has its socket."""

    def refused(self, why: str, arrival: Arrival) -> None:
        """Report a client's datagram that was refused."""


class NoReports:
    """A receiver that drops every report."""

    def begun(self, flow: Flow, now: float) -> None:
        """Do nothing."""

    def ended(self, flow: Flow, now: float, why: str) -> None:
        """Do nothing."""

    def refused(self, why: str, arrival: Arrival) -> None:
        """Do nothing."""


NO_REPORTS = NoReports()


class Endpoints(NamedTuple):
    """The endpoints of a flow, as text and port.

    *mapped* and *server* are those that the client first sent to; it may have sent to others.
    """

    client: Endpoint
    mapped: Endpoint
    source: Endpoint
    server: Endpoint


def endpoints(flow: Flow) -> Endpoints:
    """Return the endpoints of *flow*; the source is 0.0.0.0 without a route to its server."""
    ends = flow.ends
    if isinstance(ends, V6ToV4Ends):
        server, port = flow.first
        ours = own_address(server) if ends.source is None else ends.source
        return Endpoints(
            (ends.client[0], ends.client[1]),
            (text6(ends.prefix.map(server)), port),
            (text4(ours or 0), ends.port),
            (text4(server), port),
        )
    return Endpoints(
        (text4(ends.client[0]), ends.client[1]),
        (text4(ends.mapped[0]), ends.mapped[1]),
        (text6(ends.source[0]), ends.source[1]),
        (ends.host_text, ends.host[1]),
    )
