"""ICMP errors about flows, translated as RFC 7915 §4.2, §4.3, §5.2 and §5.3 say."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.checksum import holds
from faith.datagram.packet import ICMP, ICMPV6, Packet, read_v4, read_v6, write_v4, write_v6
from faith.flow.flow_counters import ERRORS
from faith.flow.flow_errors import FlowErrors
from faith.flow.tcp_segment import ACK
from faith.kernel.flow.layout import (
    HOPS4,
    HOPS6,
    ICMP4,
    ICMP6,
    PACKET,
    SYNACK,
    TOO_BIG4,
    TOO_BIG6,
    Event,
    Slot,
)
from faith.translation.pseudo_header import pseudo_sum
from tests.flow.stand import (
    CLIENT,
    MAPPED,
    SERVER,
    SOURCE,
    WELL_KNOWN,
    Stand,
    octets,
    packet_v6,
    policy,
    segment,
)

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps

ROUTER = "192.0.2.254"
ROUTER_V6 = "2001:db8:2::254"


def errors(stand: Stand) -> FlowErrors:
    return FlowErrors(stand.table, stand.judge, stand.ends, stand.output)


def number(text: str) -> int:
    return int(ip_address(text))


def from_v4(stand: Stand, slot: Slot, message: icmp.Message, octets_of_it: int = 28) -> bytes:
    """An ICMP error of the router about the beginning of the SYN that was sent to the server."""
    (sent, *_) = stand.wires["raw_v4"].sent
    quoted = read_v4(_with_sum(sent))
    assert quoted is not None
    whole = message._replace(body=_with_sum(sent)[:octets_of_it])
    return write_v4(_packet(ROUTER, SOURCE, ICMP, icmp.write(whole)))


def _with_sum(sent: bytes) -> bytes:
    """The packet with the checksum that the kernel fills in."""
    from faith.datagram.checksum import checksum

    found = checksum(sent[:10] + bytes(2) + sent[12:20])
    return sent[:10] + found.to_bytes(2, "big") + sent[12:]


def _packet(source: str, to: str, protocol: int, payload: bytes) -> Packet:
    return Packet(number(source), number(to), 60, 0, protocol, len(payload), payload)


def event(stand: Stand, slot: int, kind: int, packet: bytes, *, late: int = 0) -> Event:
    generation = stand.maps.generation_of(slot) - late
    return Event(kind, 3, slot, generation, 0, packet[:PACKET])


def message_to_client(stand: Stand) -> tuple[icmp.Message, Packet]:
    """The one error sent to the client, and the packet of its own that it quotes."""
    (sent,) = stand.sent("icmp_v6")
    message = icmp.read(sent)
    assert message is not None
    quoted = read_v6(message.body)
    assert quoted is not None
    return message, quoted


UNREACHABLE = icmp.Message(3, 1, 0, b"")


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        ((3, 0, 0), (1, 0, 0)),
        ((3, 1, 0), (1, 0, 0)),
        ((3, 2, 0), (4, 1, 6)),
        ((3, 3, 0), (1, 4, 0)),
        ((3, 13, 0), (1, 1, 0)),
        ((3, 10, 0), (1, 1, 0)),
        ((3, 4, 1300), (2, 0, 1320)),
        ((3, 4, 576), (2, 0, 1280)),
        ((3, 4, 9000), (2, 0, 1500)),
        ((11, 0, 0), (3, 0, 0)),
        ((11, 1, 0), (3, 1, 0)),
        ((12, 0, 8 << 24), (4, 0, 7)),
    ],
)
def test_an_error_from_ipv4_is_the_clients_by_rfc_7915_4_2(
    stand: Stand, error: tuple[int, int, int], translated: tuple[int, int, int]
) -> None:
    (slot,) = stand.open()
    packet = from_v4(stand, stand.maps.read(slot), icmp.Message(*error, b""), 44)
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    message, quoted = message_to_client(stand)
    assert message[:3] == translated
    assert (quoted.source, quoted.destination) == (number(CLIENT), number(MAPPED))
    assert quoted.payload[:18] == packet_v6()[40:58]
    assert holds(quoted.payload, pseudo_sum(octets(CLIENT) + octets(MAPPED), quoted.length))
    assert stand.counted(ERRORS) == {"v6": 1}


@pytest.mark.parametrize(
    "error", [(3, 14, 0), (12, 1, 0), (12, 0, 6 << 24), (5, 0, 0), (4, 0, 0), (0, 0, 0)]
)
def test_an_error_without_a_counterpart_is_dropped(
    stand: Stand, error: tuple[int, int, int]
) -> None:
    (slot,) = stand.open()
    packet = from_v4(stand, stand.maps.read(slot), icmp.Message(*error, b""))
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    assert not stand.sent("icmp_v6")


def test_the_reporter_is_the_routers_mapped_address(stand: Stand) -> None:
    (slot,) = stand.open()
    packet = from_v4(stand, stand.maps.read(slot), UNREACHABLE)
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    ((host, *_), control) = stand.wires["icmp_v6"].to[0]
    assert host == CLIENT
    assert octets(f"2001:db8:ffff::{ROUTER}") in b"".join(data for *_, data in control)


def test_a_reporter_that_the_well_known_prefix_must_not_map_is_the_gateway(stand: Stand) -> None:
    """RFC 6052 §3.1: the router has an address that is not global."""
    stand.judge.policy = policy(prefix=WELL_KNOWN)
    (slot,) = stand.open(mapped="64:ff9b::203.0.112.1")
    packet = from_v4(stand, stand.maps.read(slot), UNREACHABLE)
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    ((host, *_), control) = stand.wires["icmp_v6"].to[0]
    assert host == CLIENT
    assert octets(f"64:ff9b::{ROUTER}") not in b"".join(data for *_, data in control)


def test_an_error_about_a_quoted_ip_header_and_8_octets_is_enough(stand: Stand) -> None:
    (slot,) = stand.open()
    packet = from_v4(stand, stand.maps.read(slot), UNREACHABLE, 28)
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    _, quoted = message_to_client(stand)
    assert len(quoted.payload) == 8
    packet = from_v4(stand, stand.maps.read(slot), UNREACHABLE, 27)
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    assert not stand.sent("icmp_v6")


def test_a_damaged_error_and_one_of_an_earlier_flow_are_dropped(stand: Stand) -> None:
    (slot,) = stand.open()
    packet = from_v4(stand, stand.maps.read(slot), UNREACHABLE)
    handler = errors(stand)
    handler.handle(event(stand, slot, ICMP4, packet[:-1] + b"\xee"))
    handler.handle(event(stand, slot, ICMP4, packet, late=1))
    assert not stand.sent("icmp_v6")
    assert not stand.ends.learned


@pytest.mark.parametrize(
    ("code", "why"), [(1, "unreachable"), (13, "unreachable"), (3, "refused"), (2, "refused")]
)
def test_an_error_before_the_answer_is_the_end_that_is_recorded(
    stand: Stand, code: int, why: str
) -> None:
    (slot,) = stand.open()
    packet = from_v4(stand, stand.maps.read(slot), icmp.Message(3, code, 0, b""))
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    stand.ends.time_out([slot])
    assert stand.reports.ends == [why]


@pytest.mark.parametrize(("code", "state"), [(4, 0), (1, SYNACK)])
def test_an_error_that_ends_nothing_is_not_remembered(stand: Stand, code: int, state: int) -> None:
    (slot,) = stand.open()
    stand.maps.mark(slot, state)
    packet = from_v4(stand, stand.maps.read(slot), icmp.Message(3, code, 1300, b""))
    errors(stand).handle(event(stand, slot, ICMP4, packet))
    assert not stand.ends.learned


# -- from IPv6 -----------------------------------------------------------------------------------


def answer_of(slot: Slot) -> bytes:
    """A segment of the server's as the client gets it."""
    ends = slot.mapped + slot.client
    head = struct.pack("!HHIIBBHHH", 80, slot.client_port, 5, 6, 5 << 4, ACK, 100, 0, 0)
    from faith.flow.tcp_segment import with_checksum

    body = with_checksum(bytearray(head + b"data"), ends)
    return struct.pack("!IHBB", 6 << 28, len(body), 6, 60) + ends + body


def from_v6(slot: Slot, message: icmp.Message, most: int = 1000) -> bytes:
    whole = message._replace(body=answer_of(slot)[:most])
    bare = _packet(ROUTER_V6, MAPPED, ICMPV6, icmp.write(whole))
    return write_v6(bare._replace(payload=icmp.write(whole, icmp.pseudo(bare))))


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        ((1, 0, 0), (3, 1, 0)),
        ((1, 1, 0), (3, 10, 0)),
        ((1, 3, 0), (3, 1, 0)),
        ((1, 4, 0), (3, 3, 0)),
        ((2, 0, 1400), (3, 4, 1380)),
        ((2, 0, 9000), (3, 4, 1480)),
        ((2, 0, 1), (3, 4, 68)),
        ((3, 0, 0), (11, 0, 0)),
        ((4, 1, 0), (3, 2, 0)),
        ((4, 0, 7), (12, 0, 8 << 24)),
    ],
)
def test_an_error_from_ipv6_is_the_servers_by_rfc_7915_5_2(
    stand: Stand, error: tuple[int, int, int], translated: tuple[int, int, int]
) -> None:
    (number_,) = stand.open()
    slot = stand.maps.read(number_)
    packet = from_v6(slot, icmp.Message(*error, b""))
    errors(stand).handle(event(stand, number_, ICMP6, packet))
    (sent,) = stand.sent("icmp_v4")
    message = icmp.read(sent)
    assert message is not None
    assert holds(sent)
    assert message[:3] == translated
    quoted = read_v4(message.body)
    assert quoted is not None
    assert (quoted.source, quoted.destination) == (number(SERVER), number(SOURCE))
    assert quoted.payload[:4] == struct.pack("!HH", 80, slot.source_port)
    assert holds(quoted.payload, pseudo_sum(octets(SERVER) + octets(SOURCE), quoted.length))
    ((host, _), control) = stand.wires["icmp_v4"].to[0]
    assert host == SERVER
    assert octets(SOURCE) in b"".join(data for *_, data in control)


@pytest.mark.parametrize("error", [(4, 2, 0), (4, 0, 2), (1, 7, 0), (100, 0, 0)])
def test_an_error_of_ipv6_without_a_counterpart_is_dropped(
    stand: Stand, error: tuple[int, int, int]
) -> None:
    (slot,) = stand.open()
    packet = from_v6(stand.maps.read(slot), icmp.Message(*error, b""))
    errors(stand).handle(event(stand, slot, ICMP6, packet))
    assert not stand.sent("icmp_v4")


def test_a_damaged_error_of_ipv6_is_dropped(stand: Stand) -> None:
    (number_,) = stand.open()
    packet = from_v6(stand.maps.read(number_), icmp.Message(2, 0, 1400, b""), most=40 + 20)
    handler = errors(stand)
    handler.handle(event(stand, number_, ICMP6, packet[:-1] + b"\xee"))
    assert not stand.sent("icmp_v4")
    assert stand.maps.read(number_).mtu6 == 1500
    handler.handle(event(stand, number_, ICMP6, packet))
    assert len(stand.sent("icmp_v4")) == 1


@pytest.mark.parametrize(
    ("mtu", "learned"), [(1400, 1400), (600, 1280), (1500, 1500), (9000, 1500)]
)
def test_the_mtu_of_the_clients_path_is_learned(stand: Stand, mtu: int, learned: int) -> None:
    """RFC 7915 §4: a packet that may be fragmented must not exceed it."""
    (number_,) = stand.open()
    before = stand.maps.read(number_)
    packet = from_v6(before, icmp.Message(2, 0, mtu, b""))
    errors(stand).handle(event(stand, number_, ICMP6, packet))
    assert stand.maps.read(number_) == before._replace(mtu6=learned)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=PACKET), st.sampled_from([ICMP4, ICMP6, TOO_BIG4, TOO_BIG6, 99]))
def test_no_packet_whatever_it_is_breaks_the_brain(
    maps: FlowMaps, packet: bytes, kind: int
) -> None:
    stand = Stand(maps)
    slot = next(iter(maps.used()), None)
    if slot is None:
        (slot,) = stand.open()
    errors(stand).handle(event(stand, slot, kind, bytes(40)[: 40 - len(packet)] + packet))


# -- of this gateway -----------------------------------------------------------------------------


def test_a_packet_too_big_for_ipv4_is_answered_with_its_mtu(stand: Stand) -> None:
    (slot,) = stand.open()
    stand.maps.reroute(slot, 3, 3, 1400, 1500, 0, 0)
    errors(stand).handle(event(stand, slot, TOO_BIG6, packet_v6(segment(ACK, bytes(80)))))
    message, quoted = message_to_client(stand)
    assert message[:3] == (2, 0, 1420)
    assert quoted.source == number(CLIENT)
    stand.maps.reroute(slot, 3, 3, 600, 1500, 0, 0)
    errors(stand).handle(event(stand, slot, TOO_BIG6, packet_v6()))
    assert message_to_client(stand)[0][:3] == (2, 0, 1280)


def test_a_packet_too_big_for_ipv6_is_answered_with_its_mtu(stand: Stand) -> None:
    (slot,) = stand.open()
    stand.maps.reroute(slot, 3, 3, 1500, 1280, 0, 0)
    packet = write_v4(_packet(SERVER, SOURCE, 6, bytes(80)))
    errors(stand).handle(event(stand, slot, TOO_BIG4, packet))
    (sent,) = stand.sent("icmp_v4")
    assert sent[:2] == b"\3\4"
    assert sent[6:8] == (1260).to_bytes(2, "big")
    assert sent[8:28] == packet[:20]
    assert stand.wires["icmp_v4"].to[0][0] == (SERVER, 0)


def test_a_packet_without_hops_left_is_answered_to_its_sender(stand: Stand) -> None:
    (slot,) = stand.open()
    errors(stand).handle(event(stand, slot, HOPS6, packet_v6(hops=1)))
    assert message_to_client(stand)[0][:2] == (3, 0)
    errors(stand).handle(event(stand, slot, HOPS4, write_v4(_packet(SERVER, SOURCE, 6, bytes(20)))))
    assert stand.sent("icmp_v4")[0][:2] == b"\x0b\0"


def test_errors_keep_to_a_rate(stand: Stand) -> None:
    (slot,) = stand.open()
    for _ in range(200):
        errors(stand).handle(event(stand, slot, HOPS6, packet_v6(hops=1)))
    assert len(stand.sent("icmp_v6")) == 50
