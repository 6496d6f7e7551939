from __future__ import annotations

import errno
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from faith.datagram.pace import Paces
from faith.datagram.udp.flow_handover import FlowHandover
from faith.datagram.udp.flow_reports import NoReports
from faith.datagram.udp.udp_counters import UdpCounters
from faith.datagram.udp.udp_v4_to_v6 import UdpV4ToV6
from faith.datagram.udp.udp_v6_to_v4 import UdpV6ToV4
from faith.datagram.udp.v6_sender import V6Sender
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.udp.flows import Flow, Flows, UdpSettings
from tests.datagram.wires import Wire, arrival, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.datagram.udp.flow_reports import FlowReports

PREFIX = Prefix.parse("2001:db8:ffff::/96")
CLIENT, NODE, MAPPED = "2001:db8:6::2", "192.0.2.9", "198.51.100.102"
POLICY = Policy(
    Prefixes([PREFIX]),
    Networks(32, ()),
    Access.parse("::/0 permit 127.0.0.1/32\n::/0 permit 0.0.0.0/0"),
    Maps([Map((number(MAPPED), 32), (number("2001:db8:a::2"), 128))]),
)
SERVED = 9


class Reports(NoReports):
    """A list of the *ends* that are reported, and why."""

    def __init__(self, ends: list[tuple[Flow, str]]) -> None:
        self.ends = ends

    def ended(self, flow: Flow, now: float, why: str) -> None:
        assert now >= flow.opened
        self.ends.append((flow, why))


class Home:
    """A server of UDP but for what reads."""

    def __init__(self) -> None:
        self.counters = UdpCounters()
        flows = Flows(UdpSettings()), Flows(UdpSettings())
        self.flows_from_v6, self.flows_from_v4 = flows
        wire: Any = Wire()
        shared = self.counters, Paces(0, 0)
        self.ends: list[tuple[Flow, str]] = []
        self.reports: FlowReports = Reports(self.ends)
        self.watched: list[Flow] = []
        noticed = self.watched.append, self.watched.remove
        v6 = V6Sender(wire, wire, 1280)
        self.v6_to_v4 = UdpV6ToV4(POLICY, self.flows_from_v6, v6, *shared, *noticed)
        self.v4_to_v6 = UdpV4ToV6(POLICY, self.flows_from_v4, wire, v6, *shared)
        self.serves = False
        self.handover = FlowHandover(
            self.v6_to_v4, self.v4_to_v6, self.counters, self.reports, self.serve
        )

    def serve(self) -> None:
        self.serves = True

    def ask(self, *ports: int) -> None:
        """Have flows of both kinds for these ports of clients."""
        mapped = f"{str(PREFIX).removesuffix('/96')}7f00:1"
        for port in ports:
            self.v6_to_v4.forward(arrival((CLIENT, port), (mapped, SERVED)), 0.0)
            self.v4_to_v6.forward(arrival((NODE, port), (MAPPED, SERVED)), 0.0)

    def ports(self) -> dict[int, int]:
        """Which port of ours each of the client's has."""
        return {flow.key[1]: flow.ends.port for flow in self.flows_from_v6}

    def close(self) -> None:
        for flow in self.flows_from_v6.take(100):
            self.v6_to_v4.end(flow)


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Home, Home]]:
    def flow_socket(source: str | None, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(("127.0.0.1", 0))
        return sock

    monkeypatch.setattr("faith.datagram.udp.udp_v6_to_v4.flow_socket", flow_socket)
    both = Home(), Home()
    yield both
    for home in both:
        home.close()


def hand_over(giver: Home, taker: Home, room: int = 100) -> None:
    while giver.handover.left:
        states, descriptors = giver.handover.give(room)
        assert len(descriptors) <= room
        taker.handover.adopt(json.loads(json.dumps(states)), [os.dup(fd) for fd in descriptors])
        for descriptor in descriptors:
            os.close(descriptor)


def test_flows_go_on_with_their_ports(homes: tuple[Home, Home]) -> None:
    giver, taker = homes
    giver.ask(7000, 7001, 7002)
    ports = giver.ports()
    for flow in (*giver.flows_from_v6, *giver.flows_from_v4):
        flow.opened, flow.received = 5.0, 7
    hand_over(giver, taker, room=2)
    assert taker.serves
    assert taker.ports() == ports
    assert len(taker.watched) == len(taker.flows_from_v4) == 3
    for flow in (*taker.flows_from_v6, *taker.flows_from_v4):
        assert (flow.opened, flow.sent > 0, flow.received) == (5.0, True, 7)
    assert {flow.first for flow in taker.flows_from_v6} == {(number("127.0.0.1"), SERVED)}
    assert not taker.ends
    assert not giver.watched
    assert not len(giver.flows_from_v6) + len(giver.flows_from_v4)


def test_it_takes_no_further_descriptor(
    homes: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be none left, with very many flows."""

    def exhausted(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    giver, _ = homes
    giver.ask(7000)
    monkeypatch.setattr(os, "dup", exhausted)
    _, descriptors = giver.handover.give(100)
    os.close(*descriptors)


def test_who_was_quicker_than_that_keeps_the_new_flow(homes: tuple[Home, Home]) -> None:
    giver, taker = homes
    giver.ask(7000, 7001)
    taker.ask(7000)
    new = taker.ports()[7000]
    hand_over(giver, taker)
    assert taker.ports()[7000] == new
    ends = [(flow.key[1], why) for flow, why in taker.ends]
    assert ends == [(7000, "stopped")] * 2, "the flows that are not taken have an end all the same"
    assert len(taker.watched) == len(taker.flows_from_v4) == 2
    for flow in taker.flows_from_v6.expire(1000.0):
        taker.v6_to_v4.end(flow)
    for flow in taker.flows_from_v4.expire(1000.0):
        taker.v4_to_v6.end(flow)
    assert not taker.watched
