from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.checksum import pseudo_v6
from faith.datagram.icmp import QUOTED_V6
from faith.datagram.pace import Paces
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v6, write_v4, write_v6
from faith.datagram.ping.identifiers import Identifiers
from faith.datagram.ping.ping_counters import IDENTIFIERS, LAYOUT, PingCounters
from faith.datagram.ping.ping_v6_to_v4 import PingV6ToV4
from faith.translation import reasons
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from faith.datagram.send import Send

PREFIX, OTHER_PREFIX, WELL_KNOWN = (
    Prefix.parse(text) for text in ("2001:db8:ffff::/96", "2001:db8:eeee::/96", "64:ff9b::/96")
)
CLIENT, NEIGHBOUR = int(IPv6Address("2001:db8:6::2")), int(IPv6Address("2001:db8:6::3"))
SERVER, ROUTER, GATEWAY = (
    int(IPv4Address(text)) for text in ("192.0.2.80", "192.0.2.9", "192.0.2.1")
)
MAPPED = PREFIX.map(SERVER)


class Bench:
    """An `PingV6ToV4` with what it needs, and its counters by name."""

    def __init__(self, rules: str = "", paces: Paces | None = None, most: int = 100) -> None:
        prefixes = Prefixes([PREFIX, OTHER_PREFIX, WELL_KNOWN])
        policy = Policy(prefixes, Networks(32, [(GATEWAY, 32)]), Access.parse(rules))
        self.cells = [0] * LAYOUT.size
        counters = PingCounters(self.cells)
        self.v6_to_v4 = PingV6ToV4(policy, Identifiers(60, most), paces or Paces(0, 0), counters)

    def ask(self, packet: bytes, now: float = 0.0, scope: int = 2) -> Send | None:
        return self.v6_to_v4.translate_request(packet, scope, now)

    def sends(self, packet: bytes, now: float = 0.0) -> Send:
        send = self.ask(packet, now)
        assert send
        return send

    def counted(self) -> dict[str, int]:
        return {
            f"{family.name} {value}".strip(): self.cells[cell]
            for family in LAYOUT.families
            if family is not IDENTIFIERS
            for value, cell in LAYOUT.cells(family).items()
            if self.cells[cell]
        }


def request(
    identifier: int = 7,
    sequence: int = 1,
    body: bytes = b"payload",
    *,
    client: int = CLIENT,
    to: int = MAPPED,
    hops: int = 64,
    kind: int = icmp.ECHO_V6,
) -> bytes:
    pseudo = pseudo_v6(client, to, 8 + len(body), ICMPV6)
    message = icmp.echo(kind, identifier, sequence, body, pseudo)
    return write_v6(Packet(client, to, hops, 3, ICMPV6, len(message), message))


def from_v4(message: bytes, source: int = SERVER, hops: int = 60) -> Packet:
    return Packet(source, GATEWAY, hops, 0, ICMP, len(message), message)


def reply(to: Send) -> bytes:
    """What the server makes of a request."""
    asked = icmp.read(to.message)
    assert asked
    return icmp.echo(icmp.ECHO_REPLY_V4, asked.identifier, asked.sequence, asked.body)


def error(about: Send, kind: int, code: int, word: int = 0, quoted: int = 28) -> bytes:
    """What a router says of it."""
    sent = Packet(GATEWAY, about.to, 3, 0, ICMP, len(about.message), about.message)
    return icmp.write(icmp.Message(kind, code, word, write_v4(sent)[:quoted]))


def told(send: Send | None) -> tuple[int, int]:
    """Type and code of an ICMPv6 error."""
    assert send
    assert send.v6
    message = icmp.read(send.message)
    assert message
    return message.kind, message.code


class TestRequests:
    @pytest.mark.parametrize("left", [0, 1])
    def test_one_that_has_a_way_to_go_by_its_routing_header_is_not_translated(
        self, left: int
    ) -> None:
        plain, route = request(), bytes([ICMPV6, 0, 0, left]) + bytes(4)
        length = (len(plain) - 40 + len(route)).to_bytes(2, "big")
        packet = plain[:4] + length + b"\x2b" + plain[7:40] + route + plain[40:]
        assert bool(Bench().ask(packet)) == (not left)

    def test_it_goes_to_the_server_with_number_and_payload(self) -> None:
        send = Bench().sends(request(7, 42))
        assert (send.v6, send.source, send.to) == (False, None, SERVER)
        assert (send.hops, send.traffic_class) == (63, 3)
        assert send.message == icmp.echo(icmp.ECHO_V4, 7, 42, b"payload")

    def test_it_comes_from_the_source_of_the_rule(self) -> None:
        rules = "2001:db8:6::/48 permit 192.0.2.0/24 198.51.100.7"
        send = Bench(rules).sends(request())
        assert send.source == int(IPv4Address("198.51.100.7"))

    def test_clients_with_the_same_identifier_get_different_ones(self) -> None:
        bench = Bench()
        messages = {bench.sends(request(client=who)).message for who in (CLIENT, NEIGHBOUR)}
        assert len(messages) == 2

    def test_what_is_refused_is_told(self) -> None:
        bench = Bench("::/0 deny 192.0.2.80/32\n::/0 permit 0.0.0.0/0")
        assert told(bench.ask(request())) == (1, 1)
        assert told(bench.ask(request(to=PREFIX.map(GATEWAY)))) == (1, 1)
        assert told(bench.ask(request(to=PREFIX.map(0x7F000001)))) == (1, 1)
        assert bench.counted() == {
            f"faith_ping_refusals {why}": 1
            for why in (reasons.DENIED, reasons.OWN, reasons.SPECIAL)
        }

    def test_a_source_inside_the_prefix_is_dropped_in_silence(self) -> None:
        bench = Bench()
        assert bench.ask(request(client=MAPPED)) is None
        assert bench.counted() == {f"faith_ping_refusals {reasons.SOURCE_MAPPED}": 1}

    def test_the_gateway_is_a_hop(self) -> None:
        bench = Bench()
        packet = request(hops=1)
        send = bench.ask(packet)
        assert told(send) == (3, 0)
        assert send
        assert (send.source, send.to, send.message[8:]) == (None, CLIENT, packet)
        assert bench.sends(request(hops=2)).hops == 1

    def test_an_error_is_no_larger_than_any_path_takes(self) -> None:
        send = Bench().sends(request(hops=1, body=bytes(3000)))
        assert len(send.message) == QUOTED_V6 + 8 == 1280 - 40

    @pytest.mark.parametrize(
        "packet",
        [
            b"",
            request()[:-1],
            request()[:-1] + b"!",
            request(client=0),
            request(client=0xFF02 << 112 | 1),
            request(kind=icmp.ECHO_REPLY_V6),
        ],
    )
    def test_what_is_no_request_is_dropped(self, packet: bytes) -> None:
        bench = Bench()
        assert bench.ask(packet) is None
        assert bench.counted() == {"faith_ping_refusals broken": 1}

    def test_a_prefix_that_has_gone_is_not_answered_for(self) -> None:
        assert Bench().ask(request(to=CLIENT)) is None

    def test_too_many_are_dropped_in_silence(self) -> None:
        bench = Bench(paces=Paces(5, 3))
        for client in (CLIENT, CLIENT + (1 << 64)):
            for number in range(4):
                bench.ask(request(sequence=number, client=client))
        assert bench.counted() == {
            "faith_ping_requests v4": 5,
            "faith_ping_refusals too many": 2,
            "faith_ping_refusals too many of the client": 1,
        }

    def test_addresses_of_one_network_are_one_client(self) -> None:
        bench = Bench(paces=Paces(0, 3))
        sent = [bench.ask(request(client=CLIENT + host)) for host in range(10)]
        assert sum(send is not None for send in sent) == 3

    def test_who_gets_no_identifier_is_told(self) -> None:
        bench = Bench(most=1)
        bench.ask(request(1))
        assert told(bench.ask(request(2))) == (1, 1)

    @pytest.mark.parametrize(
        ("number", "what"), [(errno.ENETUNREACH, (1, 0)), (errno.EPERM, (1, 1))]
    )
    def test_what_cannot_be_sent_is_told(self, number: int, what: tuple[int, int]) -> None:
        bench = Bench()
        assert told(bench.v6_to_v4.report_unsent(request(), 2, OSError(number, ""))) == what


class TestReplies:
    def test_it_comes_back_as_if_from_the_server(self) -> None:
        bench = Bench()
        asked = bench.sends(request(7, 42))
        send = bench.v6_to_v4.translate_reply(from_v4(reply(asked)), 1.0)
        assert send
        assert (send.v6, send.source, send.to) == (True, MAPPED, CLIENT)
        assert (send.hops, send.scope) == (59, 0)
        message = icmp.read(send.message)
        assert message == icmp.Message(icmp.ECHO_REPLY_V6, 0, 7 << 16 | 42, b"payload")

    def test_it_goes_to_the_client_whose_it_is(self) -> None:
        bench = Bench()
        bench.sends(request())
        asked = bench.sends(request(client=NEIGHBOUR, to=OTHER_PREFIX.map(SERVER)))
        send = bench.v6_to_v4.translate_reply(from_v4(reply(asked)), 1.0)
        assert send
        assert (send.source, send.to) == (OTHER_PREFIX.map(SERVER), NEIGHBOUR)
        message = icmp.read(send.message)
        assert message
        assert message.identifier == 7

    def test_a_link_local_client_is_found_again(self) -> None:
        bench = Bench()
        asked = bench.sends(request(client=0xFE80 << 112 | 9))
        send = bench.v6_to_v4.translate_reply(from_v4(reply(asked)), 1.0)
        assert send
        assert send.scope == 2

    def test_what_nobody_asked_for_is_dropped(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        assert bench.v6_to_v4.translate_reply(from_v4(reply(asked), source=ROUTER), 1.0) is None
        assert bench.v6_to_v4.translate_reply(from_v4(reply(asked)), 60.0) is None
        assert bench.v6_to_v4.translate_reply(from_v4(reply(asked)[:-1] + b"!"), 1.0) is None
        assert bench.v6_to_v4.translate_reply(from_v4(asked.message), 1.0) is None
        assert bench.v6_to_v4.translate_reply(from_v4(b""), 1.0) is None

    def test_the_last_hop_is_not_taken_from_it(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        send = bench.v6_to_v4.translate_reply(from_v4(reply(asked), hops=1), 1.0)
        assert send
        assert send.hops == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("heard", "what"),
        [((11, 0, 0), (3, 0)), ((3, 1, 0), (1, 0)), ((3, 13, 0), (1, 1)), ((3, 4, 1400), (2, 0))],
    )
    def test_it_comes_from_the_router_that_told(
        self, heard: tuple[int, int, int], what: tuple[int, int]
    ) -> None:
        bench = Bench()
        asked = bench.sends(request())
        send = bench.v6_to_v4.translate_reply(from_v4(error(asked, *heard), ROUTER), 1.0)
        assert told(send) == what
        assert send
        assert (send.source, send.to) == (PREFIX.map(ROUTER), CLIENT)
        assert bench.counted()["faith_ping_errors v4"] == 1

    @given(
        body=st.binary(max_size=200),
        quoted=st.integers(28, 300),
        identifier=st.integers(0, 0xFFFF),
        both=st.booleans(),
    )
    def test_it_has_the_clients_own_packet(
        self, body: bytes, quoted: int, identifier: int, both: bool
    ) -> None:
        bench = Bench()
        if both:  # so that the identifier is another one on the way
            bench.sends(request(identifier, client=NEIGHBOUR))
        packet = request(identifier, 9, body)
        asked = bench.sends(packet)
        send = bench.v6_to_v4.translate_reply(from_v4(error(asked, 11, 0, 0, quoted), ROUTER), 1.0)
        assert send
        about = bytearray(send.message[8:])
        about[7], about[0:4] = packet[7], packet[0:4]  # hops that are left, traffic class
        assert packet.startswith(about)
        inner = read_v6(send.message[8:])
        assert inner
        assert inner.length == 8 + len(body)
        assert len(inner.payload) == min(quoted - 20, inner.length)

    def test_the_gateways_own_comes_from_the_gateway(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        send = bench.v6_to_v4.translate_reply(from_v4(error(asked, 3, 1), GATEWAY), 1.0)
        assert send
        assert send.source is None

    def test_the_well_known_prefix_stands_for_no_private_router(self) -> None:
        bench = Bench()
        asked = bench.sends(request(to=WELL_KNOWN.map(0x08080808)))
        for router, source in ((0x0A000001, None), (0x08080404, WELL_KNOWN.map(0x08080404))):
            send = bench.v6_to_v4.translate_reply(from_v4(error(asked, 11, 0), router), 1.0)
            assert send
            assert send.source == source

    def test_it_neither_keeps_nor_ends_an_identifier(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        for now, heard in ((30.0, True), (59.0, True), (60.0, False)):
            answer = bench.v6_to_v4.translate_reply(from_v4(error(asked, 3, 1), ROUTER), now)
            assert (answer is not None) == heard

    def test_what_is_about_something_else_is_dropped(self) -> None:
        bench = Bench()
        asked = bench.sends(request())
        other = asked._replace(to=ROUTER)
        tcp = Packet(GATEWAY, SERVER, 3, 0, 6, len(asked.message), asked.message)
        for message in (
            error(other, 3, 1),
            error(asked, 5, 1),
            error(asked, 3, 14),
            error(asked, 3, 1, quoted=20),
            icmp.write(icmp.Message(3, 1, 0, write_v4(tcp))),
            icmp.write(icmp.Message(3, 1, 0, b"")),
        ):
            assert bench.v6_to_v4.translate_reply(from_v4(message, ROUTER), 1.0) is None

    @given(st.binary(max_size=200))
    def test_whatever_comes_does_no_harm(self, octets: bytes) -> None:
        bench = Bench()
        bench.ask(request())
        bench.ask(octets)
        bench.v6_to_v4.translate_reply(from_v4(octets), 1.0)
        for kind in (0, 3, 11, 12):
            message = icmp.write(icmp.Message(kind, 0, 0, octets))
            bench.v6_to_v4.translate_reply(from_v4(message), 1.0)
