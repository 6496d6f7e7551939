"""Records of the kernel path's flows, made of reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from faith.daemon.observe.records import Recording, Records
from faith.daemon.observe.tcp_flow_records import TcpFlowRecords
from faith.flow.flow_view import FlowView
from faith.kernel.flow.layout import ESTABLISHED, Side, Slot
from faith.translation.address import number, packed4, packed6
from faith.translation.reasons import CLOSED, DENIED
from tests.test_timeouts import Clock

if TYPE_CHECKING:
    from faith.relay.tcp.record import Record

CLIENT, MAPPED = packed6(number("2001:db8:6::2")), packed6(number("2001:db8:ffff::c000:250"))
SECOND = 1_000_000_000
SLOT = Slot(
    *(CLIENT, MAPPED, packed4(number("192.0.2.1")), packed4(number("192.0.2.80"))),
    *(61000, 40000, 80),
    *(0,) * 8,
    state=ESTABLISHED,
    generation=7,
    started=100 * SECOND,
    from_client=Side(last=102 * SECOND, packets=3, octets=10),
    from_server=Side(last=104 * SECOND, packets=4, octets=200),
)
VIEW = FlowView(SLOT, 110 * SECOND)


def reports(**recording: Any) -> tuple[TcpFlowRecords, list[Record]]:
    written: list[Record] = []
    clock: Any = Clock()
    return TcpFlowRecords(Records(clock, Recording(**recording), written.append)), written


def test_the_end_has_octets_and_the_time_of_the_last_packet() -> None:
    told, written = reports()
    told.ended(VIEW, CLOSED)
    (record,) = written
    fields = record.fields()
    started = fields.pop("started")
    assert isinstance(started, float)
    assert abs(time.time() - 10 - started) < 5
    assert fields == {
        "event": "end",
        "protocol": "tcp",
        "client": "2001:db8:6::2",
        "client_port": 40000,
        "mapped": "2001:db8:ffff::c000:250",
        "mapped_port": 80,
        "source": "192.0.2.1",
        "source_port": 61000,
        "server": "192.0.2.80",
        "server_port": 80,
        "sent": 10,
        "received": 200,
        "seconds": 4.0,
        "end": CLOSED,
    }


def test_the_start_is_recorded_where_that_is_wanted() -> None:
    for starts in (False, True):
        told, written = reports(starts=starts)
        told.begun(VIEW)
        assert [record.event for record in written] == ["start"] * starts


def test_a_refusal_has_no_legs() -> None:
    told, written = reports()
    told.refused(DENIED, CLIENT, 40000, MAPPED, 80)
    (record,) = written
    assert (record.event, record.end) == ("refused", DENIED)
    assert record.client == ("2001:db8:6::2", 40000)
    assert record.mapped == ("2001:db8:ffff::c000:250", 80)
    assert record.server is None
