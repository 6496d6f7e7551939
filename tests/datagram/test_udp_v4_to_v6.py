from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from faith.datagram import icmp
from faith.datagram.pace import Paces
from faith.datagram.packet import ICMPV6, Packet, read_v4, write_v6
from faith.datagram.udp.udp_counters import LAYOUT, UdpCounters
from faith.datagram.udp.udp_server import ERRORS, ERRORS_PER_CLIENT
from faith.datagram.udp.udp_v4_to_v6 import UdpV4ToV6
from faith.datagram.udp.v6_sender import V6Sender
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.udp.flows import Flows, UdpSettings
from tests.datagram.wires import Wire, arrival, by_v6, number, packet

PREFIX = Prefix.parse("2001:db8:ffff::/96")
CLIENT, HOST, MAPPED, ALIAS = "192.0.2.9", "2001:db8:a::2", "198.51.100.102", "198.51.100.103"
ROUTER = number("2001:db8:b::1")
PORT, SERVED = 7000, 5555
MAPS = Maps(
    [
        Map((number(MAPPED), 32), (number(HOST), 128)),
        Map((number(ALIAS), 32), (number(HOST), 128), direction="in"),
    ]
)


class Bench:
    """An `UdpV4ToV6` and what it sends by."""

    def __init__(self, settings: UdpSettings | None = None) -> None:
        policy = Policy(Prefixes([PREFIX]), Networks(32, ()), Access.parse(""), MAPS)
        self.cells = [0] * LAYOUT.size
        self.v4, self.v6 = Wire(), Wire()
        self.flows = Flows(settings or UdpSettings())
        shared = UdpCounters(self.cells), Paces(ERRORS, ERRORS_PER_CLIENT)
        v4: Any = self.v4
        v6: Any = self.v6
        self.v4_to_v6 = UdpV4ToV6(policy, self.flows, v4, V6Sender(v6, v6, 1280), *shared)

    def ask(self, port: int = PORT, mapped: str = MAPPED, payload: bytes = b"hello") -> Packet:
        """Send as a client; the packet that goes to the host."""
        asked = arrival((CLIENT, port), (mapped, SERVED), payload)
        assert self.v4_to_v6.forward(asked, 0.0) is None
        return by_v6(self.v6)


def error(about: Packet, kind: int, code: int, word: int = 0, quoted: int = 1232) -> Packet:
    """What a router of the IPv6 side says of a packet."""
    message = icmp.write(icmp.Message(kind, code, word, write_v6(about)[:quoted]))
    return Packet(ROUTER, about.source, 60, 0, ICMPV6, len(message), message)


def port_of(sent: Packet) -> int:
    return int.from_bytes(sent.payload[:2], "big")


class TestAnswers:
    def answer(self, bench: Bench, asked: Packet) -> str | None:
        """The address that the client hears from, when the host answers."""
        told = arrival((HOST, SERVED), (str(IPv6Address(asked.source)), port_of(asked)))
        flow = bench.v4_to_v6.whose(told)
        if flow is None:
            return None
        bench.v4_to_v6.send_back(flow, b"answer", 0)
        _, ((_, _, info),), _ = bench.v4.sent[-1]
        return str(IPv4Address(info[4:8]))

    def test_it_is_from_the_address_that_was_asked(self) -> None:
        bench = Bench()
        first, second = bench.ask(), bench.ask(mapped=ALIAS)
        assert port_of(first) == PORT
        assert port_of(second) != PORT
        assert self.answer(bench, first) == MAPPED
        assert self.answer(bench, second) == ALIAS

    def test_a_port_that_was_given_away_is_found_again(self) -> None:
        """The client uses by itself what another of its flows has got."""
        bench = Bench()
        bench.ask()
        given = bench.ask(mapped=ALIAS)
        own = bench.ask(port=port_of(given))
        assert port_of(own) != port_of(given)
        assert self.answer(bench, given) == ALIAS
        assert self.answer(bench, own) == MAPPED

    def test_a_flow_that_has_ended_is_not_answered(self) -> None:
        bench = Bench()
        asked = bench.ask()
        for flow in bench.flows.expire(1000.0):
            bench.v4_to_v6.end(flow)
        assert self.answer(bench, asked) is None
        assert port_of(bench.ask(mapped=ALIAS)) == PORT

    def test_it_keeps_no_flow(self) -> None:
        bench = Bench()
        asked = bench.ask()
        (flow,) = bench.flows
        due = flow.due
        assert self.answer(bench, asked) == MAPPED
        assert flow.due == due


class TestErrors:
    def test_it_has_the_clients_own_packet(self) -> None:
        bench = Bench()
        bench.ask(mapped=ALIAS)
        told = bench.v4_to_v6.translate_error(error(bench.ask(), 1, 4))
        assert told
        inner = read_v4(told.message[8:])
        assert inner == packet((CLIENT, PORT), (MAPPED, SERVED))

    def test_a_length_that_no_ipv4_packet_has_is_not_believed(self) -> None:
        bench = Bench()
        lying = bench.ask()._replace(length=0xFFFF)
        assert bench.v4_to_v6.translate_error(error(lying, 1, 4)) is None


class TestRefusals:
    def test_what_goes_no_further_has_no_flow(self) -> None:
        bench = Bench()
        told = bench.v4_to_v6.forward(arrival((CLIENT, PORT), (MAPPED, SERVED), hops=1), 0.0)
        assert told
        assert told.message[0] == icmp.TIME_EXCEEDED_V4
        assert not len(bench.flows)

    def test_what_is_refused_is_told_so_many_times_a_second(self) -> None:
        bench = Bench()
        asked = arrival((CLIENT, PORT), ("198.51.100.200", SERVED))
        told = [bench.v4_to_v6.forward(asked, 0.0) for _ in range(1000)]
        assert sum(send is not None for send in told) == ERRORS_PER_CLIENT
        assert bench.v4_to_v6.forward(asked, 5.0)
