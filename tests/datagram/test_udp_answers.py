from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v4, read_v6, write_v4, write_v6
from faith.datagram.udp.answers import answer_error_v4, answer_error_v6
from tests.datagram import test_udp_v4_to_v6 as from_v4
from tests.datagram import test_udp_v6_to_v4 as from_v6
from tests.datagram.wires import arrival, number, packet

if TYPE_CHECKING:
    from faith.datagram.send import Send

CLIENT, SERVER, GATEWAY = from_v6.CLIENT, from_v6.SERVER, from_v6.GATEWAY
PORT, SERVED = from_v6.PORT, from_v6.SERVED
ROUTER_V6, ROUTER_V4 = "2001:db8:b::1", "192.0.2.7"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> from_v6.Bench:
    """Of an IPv6 client that has sent something to the server."""
    monkeypatch.setattr("faith.datagram.udp.answers.own_address", lambda to: number(GATEWAY))
    bench = from_v6.Bench(monkeypatch)
    bench.send()
    return bench


class TestOfIPv4Servers:
    def fails(
        self, bench: from_v6.Bench, answer: Packet, kind: int = 1, code: int = 4, by: str = CLIENT
    ) -> Send | None:
        message = icmp.write(icmp.Message(kind, code, 0, write_v6(answer)))
        about = Packet(number(by), answer.source, 60, 0, ICMPV6, len(message), message)
        return answer_error_v6(about, bench.flows, bench.v6_to_v4.policy)

    def answer(self, port: int = PORT, server: str = SERVER) -> Packet:
        return packet((from_v6.mapped(server), SERVED), (CLIENT, port))

    def test_it_is_told_about_its_own_datagram(self, asked: from_v6.Bench) -> None:
        told = self.fails(asked, self.answer())
        assert told
        assert (told.v6, told.source, told.to, told.hops) == (False, None, number(SERVER), 59)
        message = icmp.read(told.message)
        assert message
        assert (message.kind, message.code) == (3, 3)
        assert read_v4(message.body) == packet((SERVER, SERVED), (GATEWAY, asked.sockets[0].port))

    def test_a_client_with_an_address_tells_from_there(self, asked: from_v6.Bench) -> None:
        asked.v6_to_v4.policy = asked.policy(f"::/0 permit 0.0.0.0/0 {from_v6.SOURCE}")
        asked.send()
        told = self.fails(asked, self.answer())
        assert told
        assert told.source == number(from_v6.SOURCE)
        assert read_v4(told.message[8:]) == packet((SERVER, SERVED), (from_v6.SOURCE, PORT))
        told = self.fails(asked, self.answer(), 3, 0, by=ROUTER_V6)
        assert told
        assert told.source is None

    def test_about_an_answer_to_a_link_local_client_nobody_is_told(
        self, asked: from_v6.Bench
    ) -> None:
        local = "fe80::2"
        sent = arrival((local, PORT), (from_v6.mapped(SERVER), SERVED), scope=3)
        assert asked.v6_to_v4.forward(sent, 0.0) is None
        assert len(asked.flows) == 2
        answer = packet((from_v6.mapped(SERVER), SERVED), (local, PORT))
        assert self.fails(asked, answer, by=local) is None

    def test_what_is_about_something_else_is_dropped(self, asked: from_v6.Bench) -> None:
        assert self.fails(asked, self.answer(PORT + 1)) is None
        assert self.fails(asked, self.answer(server=ROUTER_V4)) is None
        assert self.fails(asked, self.answer()._replace(source=number(CLIENT))) is None
        assert self.fails(asked, self.answer(), 1, 6) is None
        assert self.fails(asked, self.answer()._replace(length=0xFFFF)) is None

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=200), st.integers(1, 4))
    def test_whatever_comes_does_no_harm(
        self, asked: from_v6.Bench, octets: bytes, kind: int
    ) -> None:
        for body in (octets, write_v6(self.answer())[: len(octets)]):
            message = icmp.write(icmp.Message(kind, 0, 0, body))
            about = Packet(number(CLIENT), 0, 60, 0, ICMPV6, len(message), message)
            answer_error_v6(about, asked.flows, asked.v6_to_v4.policy)
            asked.fails(message)


class TestOfIPv6Hosts:
    def fails(
        self, bench: from_v4.Bench, answer: Packet, kind: int = 3, by: str = from_v4.CLIENT
    ) -> Send | None:
        message = icmp.write(icmp.Message(kind, 3, 0, write_v4(answer)))
        about = Packet(number(by), answer.source, 60, 0, ICMP, len(message), message)
        return answer_error_v4(about, bench.flows, bench.v4_to_v6.policy)

    def answer(self, mapped: str = from_v4.MAPPED, port: int = from_v4.PORT) -> Packet:
        return packet((mapped, from_v4.SERVED), (from_v4.CLIENT, port))

    def test_it_is_told_about_its_own_datagram(self) -> None:
        bench = from_v4.Bench()
        bench.ask()
        asked = bench.ask(mapped=from_v4.ALIAS)
        told = self.fails(bench, self.answer(from_v4.ALIAS))
        assert told
        assert (told.v6, told.source, told.to) == (True, asked.source, number(from_v4.HOST))
        message = icmp.read(told.message)
        assert message
        assert (message.kind, message.code) == (1, 4)
        source = str(IPv6Address(asked.source)), from_v4.port_of(asked)
        assert read_v6(message.body) == packet((from_v4.HOST, from_v4.SERVED), source)

    def test_a_router_tells_from_under_the_prefix(self) -> None:
        bench = from_v4.Bench()
        bench.ask()
        told = self.fails(bench, self.answer(), by=ROUTER_V4)
        assert told
        assert told.source == from_v4.PREFIX.map(number(ROUTER_V4))

    def test_what_is_about_something_else_is_dropped(self) -> None:
        bench = from_v4.Bench()
        bench.ask()
        assert self.fails(bench, self.answer(port=1)) is None
        assert self.fails(bench, self.answer("198.51.100.200")) is None
        assert self.fails(bench, self.answer(), 5) is None
        nothing = Packet(1, 2, 60, 0, ICMP, 0, b"")
        assert answer_error_v4(nothing, bench.flows, bench.v4_to_v6.policy) is None

    @given(st.binary(max_size=200), st.sampled_from([3, 11, 12]))
    def test_whatever_comes_does_no_harm(self, octets: bytes, kind: int) -> None:
        bench = from_v4.Bench()
        bench.ask()
        for body in (octets, write_v4(self.answer())[: len(octets)]):
            message = icmp.write(icmp.Message(kind, 0, 0, body))
            about = Packet(1, 2, 60, 0, ICMP, len(message), message)
            answer_error_v4(about, bench.flows, bench.v4_to_v6.policy)
            bench.v4_to_v6.translate_error(Packet(1, 2, 60, 0, ICMPV6, len(message), message))
