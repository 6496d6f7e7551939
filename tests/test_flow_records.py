"""Records of UDP flows, made of reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.observe.flow_records import FlowRecords
from faith.daemon.observe.records import Recording, Records
from faith.datagram.udp.udp_v4_to_v6 import V4ToV6Ends
from faith.kernel.sockets.udp_sockets import own_address
from faith.translation.reasons import EXPIRED, FILTERED, FLOWS, HOPS, NO_RULE
from faith.translation.udp.flows import Flow
from tests.datagram.wires import arrival, number
from tests.test_timeouts import Clock

if TYPE_CHECKING:
    from faith.relay.tcp.record import Record

CLIENT, MAPPED = ("192.0.2.9", 7000), ("198.51.100.102", 53)


def reports(**recording: Any) -> tuple[FlowRecords, list[Record]]:
    written: list[Record] = []
    clock: Any = Clock()
    return FlowRecords(Records(clock, Recording(**recording), written.append)), written


@pytest.fixture
def flow() -> Flow:
    ends = V4ToV6Ends(
        (number(CLIENT[0]), CLIENT[1]),
        (number(MAPPED[0]), MAPPED[1]),
        (number("2001:db8:ffff::c000:209"), 7000),
        (number("2001:db8:a::2"), 53),
    )
    flow = Flow((1,), 1, ends)
    flow.opened, flow.sent, flow.received = 100.0, 10, 200
    return flow


def test_a_flow_has_a_record_of_its_end(flow: Flow) -> None:
    told, written = reports()
    told.begun(flow, 100.0)
    assert not written
    told.ended(flow, 130.5, EXPIRED)
    (record,) = written
    assert record.text().startswith(
        "protocol=udp client=192.0.2.9:7000 mapped=198.51.100.102:53"
        " source=[2001:db8:ffff::c000:209]:7000 server=[2001:db8:a::2]:53 sent=10 received=200"
    )
    assert record.text().endswith(" seconds=30.500000 end=expired")
    assert abs(record.started + 30.5 - time.time()) < 5


def test_and_of_its_start_where_that_is_wanted(flow: Flow) -> None:
    told, written = reports(starts=True)
    told.begun(flow, 100.0)
    assert [record.event for record in written] == ["start"]


@pytest.mark.parametrize("starts", [True, False])
def test_or_none_at_all(flow: Flow, starts: bool) -> None:
    told, written = reports(flows=False, starts=starts)
    told.begun(flow, 100.0)
    told.ended(flow, 130.5, EXPIRED)
    assert not written


def test_flows_that_expired_are_sampled_and_stopped_ones_are_not(flow: Flow) -> None:
    told, written = reports(sample=10)
    for _ in range(100):
        told.ended(flow, 130.5, EXPIRED)
    told.ended(flow, 130.5, "stopped")
    assert [record.end for record in written] == [*[EXPIRED] * 10, "stopped"]


def test_refused_datagrams_have_a_record_without_a_second_leg() -> None:
    told, written = reports(flows=False)
    told.refused(NO_RULE, arrival(("2001:db8:6::2", 7000), ("2001:db8:ffff::a00:1", 53)))
    told.refused(FLOWS, arrival(CLIENT, MAPPED))
    assert [(one.event, one.end, one.client, one.mapped) for one in written] == [
        ("refused", NO_RULE, ("2001:db8:6::2", 7000), ("2001:db8:ffff::a00:1", 53)),
        ("refused", FLOWS, CLIENT, MAPPED),
    ]


def test_traceroute_and_strangers_leave_no_line() -> None:
    told, written = reports()
    for why in (HOPS, FILTERED):
        told.refused(why, arrival(CLIENT, MAPPED))
    assert not written


def test_a_flood_of_refused_datagrams_leaves_few() -> None:
    told, written = reports()
    for _ in range(400):
        told.refused(NO_RULE, arrival(CLIENT, MAPPED))
    assert len(written) == 10


def test_the_source_of_a_flow_without_an_address_of_its_own_is_looked_up() -> None:
    assert own_address(number("127.0.0.1")) == number("127.0.0.1")
