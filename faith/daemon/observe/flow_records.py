"""Records of UDP flows, made of the reports of the UDP server."""

from __future__ import annotations

import _socket
import time
from typing import TYPE_CHECKING

from faith.datagram.udp.flow_reports import endpoints
from faith.relay.tcp.record import UDP, Record
from faith.translation.reasons import FILTERED, HOPS

if TYPE_CHECKING:
    from faith.daemon.observe.records import Records
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.udp.flows import Flow

_USUAL = frozenset((FILTERED, HOPS))  # traceroute, and strangers who knock at a client's port


class FlowRecords:
    """Reports to *records* what those select; the `FlowReports` of a server."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def begun(self, flow: Flow, now: float) -> None:
        """Record the start of *flow*, if that is wanted."""
        recording = self._records.recording
        if recording.flows and recording.starts:
            self._records.start(_record(flow, now, ""))

    def ended(self, flow: Flow, now: float, why: str) -> None:
        """Record the end of *flow*, unless flows have no records."""
        if self._records.recording.flows:
            self._records(_record(flow, now, why))

    def refused(self, why: str, arrival: Arrival) -> None:
        """Record a datagram that was refused, with its reason, within the limit of refusals."""
        if why in _USUAL:
            return
        family = _socket.AF_INET6 if len(arrival.destination) == 16 else _socket.AF_INET
        mapped = _socket.inet_ntop(family, arrival.destination)
        self._records(
            Record(arrival.sender, (mapped, arrival.port), why, time.time(), protocol=UDP)
        )


def _record(flow: Flow, now: float, end: str) -> Record:
    client, mapped, source, server = endpoints(flow)
    seconds = now - flow.opened
    return Record(
        client,
        mapped,
        end,
        time.time() - seconds,
        source,
        server,
        seconds,
        flow.sent,
        flow.received,
        protocol=UDP,
    )
