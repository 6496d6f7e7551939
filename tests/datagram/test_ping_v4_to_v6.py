from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.checksum import holds, pseudo_v6
from faith.datagram.icmp import QUOTED_V4
from faith.datagram.pace import Paces
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v4, write_v4, write_v6
from faith.datagram.ping.identifiers import Identifiers
from faith.datagram.ping.ping_counters import LAYOUT, REFUSALS, PingCounters
from faith.datagram.ping.ping_v4_to_v6 import PingV4ToV6
from faith.translation import reasons
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from faith.datagram.send import Send

PREFIX, WELL_KNOWN = Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("64:ff9b::/96")


def v4(text: str) -> int:
    return int(IPv4Address(text))


def v6(text: str) -> int:
    return int(IPv6Address(text))


CLIENT, MAPPED, ALIAS, TCP_ONLY = (
    v4(text) for text in ("192.0.2.9", "198.51.100.102", "198.51.100.103", "198.51.100.104")
)
HOST, ROUTER = v6("2001:db8:a::2"), v6("2001:db8:b::1")
MAPS = Maps(
    [
        Map((MAPPED, 32), (HOST, 128)),
        Map((ALIAS, 32), (HOST, 128), direction="in"),
        Map((TCP_ONLY, 32), (HOST + 1, 128), protocols=frozenset({"tcp"})),
    ]
)


class Bench:
    def __init__(self, paces: Paces | None = None, *prefixes: Prefix, rules: str = "") -> None:
        policy = Policy(
            Prefixes(prefixes or (PREFIX,)), Networks(32, ()), Access.parse(rules), MAPS
        )
        self.cells = [0] * LAYOUT.size
        self.v4_to_v6 = PingV4ToV6(
            policy, Identifiers(60, 100), paces or Paces(0, 0), PingCounters(self.cells)
        )

    def ask(self, packet: bytes, now: float = 0.0) -> Send | None:
        return self.v4_to_v6.translate_request(packet, 0, now)

    def sends(self, packet: bytes, now: float = 0.0) -> Send:
        send = self.ask(packet, now)
        assert send
        return send

    def refused(self) -> set[str]:
        return {why for why, cell in LAYOUT.cells(REFUSALS).items() if self.cells[cell]}


def request(
    identifier: int = 7,
    sequence: int = 1,
    body: bytes = b"payload",
    *,
    client: int = CLIENT,
    to: int = MAPPED,
    hops: int = 64,
    kind: int = icmp.ECHO_V4,
) -> bytes:
    message = icmp.echo(kind, identifier, sequence, body)
    return write_v4(Packet(client, to, hops, 5, ICMP, len(message), message))


def from_v6(message: bytes, asked: Send, source: int = HOST, hops: int = 60) -> Packet:
    assert asked.source is not None
    return Packet(source, asked.source, hops, 0, ICMPV6, len(message), message)


def reply(asked: Send) -> bytes:
    message = icmp.read(asked.message)
    assert message
    return icmp.echo(icmp.ECHO_REPLY_V6, message.identifier, message.sequence, message.body)


def error(asked: Send, kind: int, code: int, word: int = 0, quoted: int = 48) -> bytes:
    """What a router says of it; the kernel has written the checksum of what was sent."""
    assert asked.source is not None
    message = icmp.read(asked.message)
    assert message
    pseudo = pseudo_v6(asked.source, asked.to, len(asked.message), ICMPV6)
    payload = icmp.write(message, pseudo)
    sent = Packet(asked.source, asked.to, 3, 0, ICMPV6, len(payload), payload)
    return icmp.write(icmp.Message(kind, code, word, write_v6(sent)[:quoted]))


def told(send: Send | None) -> tuple[int, int]:
    """Type and code of an ICMP error."""
    assert send
    assert not send.v6
    message = icmp.read(send.message)
    assert message
    assert holds(send.message)
    return message.kind, message.code


class TestRequests:
    def test_it_goes_to_the_host_from_prefix_and_client(self) -> None:
        send = Bench().sends(request(7, 42))
        assert (send.v6, send.source, send.to) == (True, PREFIX.map(CLIENT), HOST)
        assert (send.hops, send.traffic_class) == (63, 5)
        message = icmp.read(send.message)
        assert message == icmp.Message(icmp.ECHO_V6, 0, 7 << 16 | 42, b"payload")

    def test_all_clients_keep_their_identifiers(self) -> None:
        bench = Bench()
        for client in (CLIENT, CLIENT + 1):
            message = icmp.read(bench.sends(request(client=client)).message)
            assert message
            assert message.identifier == 7

    def test_a_private_client_has_no_place_under_the_well_known_prefix(self) -> None:
        private = request(client=v4("10.0.0.1"))
        assert told(Bench(None, WELL_KNOWN).ask(private)) == (3, 13)
        assert Bench(None, WELL_KNOWN, PREFIX).sends(private).source == PREFIX.map(v4("10.0.0.1"))

    @pytest.mark.parametrize("to", [TCP_ONLY, v4("198.51.100.200")])
    def test_what_no_map_is_for_is_refused(self, to: int) -> None:
        bench = Bench()
        assert told(bench.ask(request(to=to))) == (3, 13)
        assert bench.refused() == {"not mapped"}

    def test_the_rules_are_those_of_connections(self) -> None:
        bench = Bench(None, PREFIX, rules="::ffff:192.0.2.9/128 deny 198.51.100.102/32")
        assert told(bench.ask(request())) == (3, 13)
        assert bench.refused() == {reasons.DENIED}

    def test_the_gateway_is_a_hop(self) -> None:
        bench = Bench()
        packet = request(hops=1)
        send = bench.sends(packet)
        assert told(send) == (11, 0)
        assert (send.source, send.to, send.message[8:]) == (None, CLIENT, packet)
        assert bench.sends(request(hops=2)).hops == 1

    def test_an_error_is_no_larger_than_it_may_be(self) -> None:
        send = Bench().sends(request(hops=1, body=bytes(3000)))
        assert len(send.message) == QUOTED_V4 + 8 == 576 - 20

    @pytest.mark.parametrize(
        "packet",
        [
            b"",
            request()[:-1],
            request()[:-1] + b"!",
            request(client=0),
            request(client=v4("224.0.0.1")),
            request(client=v4("255.255.255.255")),
            request(kind=icmp.ECHO_REPLY_V4),
        ],
    )
    def test_what_is_no_request_is_dropped(self, packet: bytes) -> None:
        bench = Bench()
        assert bench.ask(packet) is None
        assert bench.refused() == {"broken"}

    def test_too_many_are_dropped_in_silence(self) -> None:
        bench = Bench(Paces(0, 3))
        sent = [bench.ask(request(sequence=number)) for number in range(10)]
        assert sum(send is not None for send in sent) == 3

    @pytest.mark.parametrize(
        ("number", "what"), [(errno.EHOSTUNREACH, (3, 1)), (errno.EPERM, (3, 13))]
    )
    def test_what_cannot_be_sent_is_told(self, number: int, what: tuple[int, int]) -> None:
        assert told(Bench().v4_to_v6.report_unsent(request(), 0, OSError(number, ""))) == what


class TestReplies:
    def test_it_comes_back_from_the_mapped_address(self) -> None:
        bench = Bench()
        asked = bench.sends(request(7, 42))
        send = bench.v4_to_v6.translate_reply(from_v6(reply(asked), asked), 1.0)
        assert send
        assert (send.v6, send.source, send.to, send.hops) == (False, MAPPED, CLIENT, 59)
        assert send.message == icmp.echo(icmp.ECHO_REPLY_V4, 7, 42, b"payload")

    def test_it_is_of_the_address_that_was_asked(self) -> None:
        bench = Bench()
        first, second = bench.sends(request()), bench.sends(request(to=ALIAS))
        for asked, mapped in ((first, MAPPED), (second, ALIAS)):
            send = bench.v4_to_v6.translate_reply(from_v6(reply(asked), asked), 1.0)
            assert send
            assert send.source == mapped
            message = icmp.read(send.message)
            assert message
            assert message.identifier == 7

    def test_what_nobody_asked_for_is_dropped(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        elsewhere = from_v6(reply(asked), asked)._replace(destination=HOST)
        assert bench.v4_to_v6.translate_reply(elsewhere, 1.0) is None
        assert bench.v4_to_v6.translate_reply(from_v6(reply(asked), asked, ROUTER), 1.0) is None
        assert bench.v4_to_v6.translate_reply(from_v6(reply(asked), asked), 60.0) is None
        assert bench.v4_to_v6.translate_reply(from_v6(asked.message, asked), 1.0) is None
        assert bench.v4_to_v6.translate_reply(from_v6(b"", asked), 1.0) is None


class TestErrors:
    @pytest.mark.parametrize(
        ("heard", "what"),
        [((3, 0, 0), (11, 0)), ((1, 3, 0), (3, 1)), ((1, 1, 0), (3, 10)), ((2, 0, 1400), (3, 4))],
    )
    def test_it_is_told_by_the_gateway(
        self, heard: tuple[int, int, int], what: tuple[int, int]
    ) -> None:
        bench = Bench()
        asked = bench.sends(request())
        send = bench.v4_to_v6.translate_reply(from_v6(error(asked, *heard), asked, ROUTER), 1.0)
        assert told(send) == what
        assert send
        assert (send.source, send.to) == (None, CLIENT)

    def test_a_mapped_host_tells_as_what_it_is_mapped_to(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        send = bench.v4_to_v6.translate_reply(from_v6(error(asked, 1, 1), asked, HOST), 1.0)
        assert send
        assert send.source == MAPPED

    @given(
        body=st.binary(max_size=200),
        quoted=st.integers(48, 300),
        identifier=st.integers(0, 0xFFFF),
        both=st.booleans(),
    )
    def test_it_has_the_clients_own_packet(
        self, body: bytes, quoted: int, identifier: int, both: bool
    ) -> None:
        bench = Bench()
        if both:  # so that the identifier is another one on the way
            bench.sends(request(identifier, to=ALIAS))
        packet = request(identifier, 9, body)
        asked = bench.sends(packet)
        send = bench.v4_to_v6.translate_reply(
            from_v6(error(asked, 3, 0, 0, quoted), asked, ROUTER), 1.0
        )
        assert send
        inner = read_v4(send.message[8:])
        assert inner
        assert (inner.source, inner.destination) == (CLIENT, MAPPED)
        assert inner.length == 8 + len(body)
        assert packet[20:].startswith(inner.payload)
        assert len(inner.payload) == min(quoted - 40, inner.length)

    def test_what_is_about_something_else_is_dropped(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        for message in (
            error(asked._replace(to=ROUTER), 3, 0),
            error(asked._replace(source=HOST), 3, 0),
            error(asked, 1, 5),
            error(asked, 3, 0, quoted=40),
            icmp.write(icmp.Message(3, 0, 0, b"")),
        ):
            assert bench.v4_to_v6.translate_reply(from_v6(message, asked, ROUTER), 1.0) is None

    def test_a_length_that_no_ipv4_packet_has_is_not_believed(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        message = bytearray(error(asked, 3, 0))
        message[12:14] = b"\xff\xff"  # of the packet in it
        assert bench.v4_to_v6.translate_reply(from_v6(bytes(message), asked, ROUTER), 1.0) is None

    @given(st.binary(max_size=200))
    def test_whatever_comes_does_no_harm(self, octets: bytes) -> None:
        bench = Bench()
        asked = bench.sends(request())
        bench.ask(octets)
        bench.v4_to_v6.translate_reply(from_v6(octets, asked), 1.0)
        for kind in (129, 1, 2, 3, 4):
            message = icmp.write(icmp.Message(kind, 0, 0, octets))
            bench.v4_to_v6.translate_reply(from_v6(message, asked), 1.0)
