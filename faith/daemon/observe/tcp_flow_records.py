"""Records of the flows of the kernel path, made of the reports of its brain.

Octets are those that the tc program has counted: what arrived from each side, whether or not it
came through.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.relay.tcp.record import Record
from faith.translation.address import text

if TYPE_CHECKING:
    from faith.daemon.observe.records import Records
    from faith.flow.flow_view import FlowView


class TcpFlowRecords:
    """Reports to *records* what those select; the `FlowReports` of a brain."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def begun(self, view: FlowView) -> None:
        """Record the start of a flow, if that is wanted."""
        if self._records.recording.starts:
            self._records.start(_record(view, ""))

    def ended(self, view: FlowView, why: str) -> None:
        """Record the end of a flow."""
        self._records(_record(view, why))

    def refused(self, why: str, client: bytes, client_port: int, mapped: bytes, port: int) -> None:
        """Record a SYN that was refused, with its reason, within the limit of refusals."""
        endpoints = (text(client), client_port), (text(mapped), port)
        self._records(Record(*endpoints, why, time.time()))


def _record(view: FlowView, end: str) -> Record:
    legs, age = (view.source, view.server), view.age
    seconds = age - view.idle if end else 0.0
    started = time.time() - age
    return Record(view.client, view.mapped, end, started, *legs, seconds, view.sent, view.received)
