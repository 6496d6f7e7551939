from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.datagram.udp import flow_reports
from faith.datagram.udp.flow_reports import Endpoints, NoReports, endpoints
from faith.translation.reasons import NO_RULE, SOURCE_MAPPED
from tests.datagram import test_udp_v4_to_v6, test_udp_v6_to_v4
from tests.datagram.test_udp_v6_to_v4 import bench, mapped
from tests.datagram.wires import arrival, number

if TYPE_CHECKING:
    from faith.kernel.sockets.udp_sockets import Arrival
    from faith.translation.udp.flows import Flow
    from tests.datagram.test_udp_v6_to_v4 import Bench

__all__ = ["bench"]

CLIENT, SERVER = "2001:db8:6::2", "192.0.2.80"


class Reports(NoReports):
    def __init__(self) -> None:
        self.begun_flows: list[tuple[Flow, float]] = []
        self.refusals: list[tuple[str, tuple[str, int]]] = []

    def begun(self, flow: Flow, now: float) -> None:
        self.begun_flows.append((flow, now))

    def refused(self, why: str, arrival: Arrival) -> None:
        self.refusals.append((why, arrival.sender))


@pytest.fixture
def reports(bench: Bench) -> Reports:
    bench.v6_to_v4._reports = Reports()
    return bench.v6_to_v4._reports


def test_a_flow_is_reported_once_with_its_endpoints(
    bench: Bench, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_reports, "own_address", lambda to: number("203.0.113.1"))
    bench.send(now=5.0)
    bench.send(now=6.0)
    bench.send("192.0.2.81", now=7.0)
    ((flow, now),) = reports.begun_flows
    assert now == flow.opened == 5.0
    assert endpoints(flow) == Endpoints(
        (CLIENT, 7000), (mapped(SERVER), 53), ("203.0.113.1", 40000), (SERVER, 53)
    )
    assert flow.sent == 15
    bench.v6_to_v4.send_back(flow, b"answer", (SERVER, 53), 0, 7.0)
    assert flow.received == 6


def test_the_source_is_the_clients_own_where_it_has_one(bench: Bench, reports: Reports) -> None:
    bench.v6_to_v4.policy = bench.policy("::/0 permit 0.0.0.0/0 198.51.100.7")
    bench.send()
    ((flow, _),) = reports.begun_flows
    assert endpoints(flow).source == ("198.51.100.7", 7000)


def test_without_a_route_the_source_is_not_known(
    bench: Bench, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_reports, "own_address", lambda to: None)
    bench.send()
    ((flow, _),) = reports.begun_flows
    assert endpoints(flow).source == ("0.0.0.0", 40000)


def test_refusals_are_reported_with_their_reason(bench: Bench, reports: Reports) -> None:
    bench.v6_to_v4.policy = bench.policy("::/0 permit 192.0.2.0/24")
    bench.send("198.51.100.1")
    inside = mapped("192.0.2.1")
    bench.v6_to_v4.forward(arrival((inside, 1), (mapped(SERVER), 53)), 0.0)
    assert reports.refusals == [(NO_RULE, (CLIENT, 7000)), (SOURCE_MAPPED, (inside, 1))]
    assert not reports.begun_flows


def test_a_flow_of_an_ipv4_client() -> None:
    bench = test_udp_v4_to_v6.Bench()
    reports = bench.v4_to_v6._reports = Reports()
    asked = bench.ask()
    bench.ask()
    ((flow, now),) = reports.begun_flows
    assert now == flow.opened == 0.0
    host, served = test_udp_v4_to_v6.HOST, test_udp_v4_to_v6.SERVED
    source = test_udp_v6_to_v4.mapped(test_udp_v4_to_v6.CLIENT)
    assert endpoints(flow) == Endpoints(
        (test_udp_v4_to_v6.CLIENT, 7000),
        (test_udp_v4_to_v6.MAPPED, served),
        (source, 7000),
        (host, served),
    )
    assert flow.sent == 10
    bench.v4_to_v6.send_back(flow, b"answer", 0)
    assert flow.received == 6
    assert asked.destination == number(host)


def test_a_refused_datagram_of_an_ipv4_client() -> None:
    bench = test_udp_v4_to_v6.Bench()
    reports = bench.v4_to_v6._reports = Reports()
    bench.v4_to_v6.forward(arrival(("192.0.2.9", 7000), ("198.51.100.1", 5555)), 0.0)
    assert reports.refusals == [("not mapped", ("192.0.2.9", 7000))]
