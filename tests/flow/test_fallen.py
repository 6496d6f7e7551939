"""Packets that the program left to the stack, translated here."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faith.datagram import icmp
from faith.datagram.checksum import checksum, holds
from faith.datagram.packet import Packet, read_v6, write_v4
from faith.flow.fallen import BATCH, Fallen, pieces_v4
from faith.flow.flow_counters import CARRIED, STRAYS
from faith.flow.tcp_segment import ACK, FIN, RST, SYN, with_checksum
from faith.kernel.flow.layout import CLOSED, FIN4, FIN6, SYNACK, Slot
from faith.translation.pseudo_header import pseudo_sum
from tests.flow.stand import CLIENT, MAPPED, SERVER, SOURCE, Stand, octets, packet_v6, segment

TO_CLIENT, TO_SERVER = octets(MAPPED) + octets(CLIENT), octets(SOURCE) + octets(SERVER)


def fall(stand: Stand, *packets: bytes) -> None:
    stand.fallen.packets += [(packet, 2) for packet in packets]
    log = stand.sockets.fallen
    Fallen(log, stand.table, stand.ends, stand.output, stand.counters).read()


def from_server(
    slot: Slot, data: bytes, flags: int = ACK, *, df: bool = False, hops: int = 60
) -> bytes:
    """An IPv4 packet of the server's, as the stack has put it together."""
    head = struct.pack("!HHIIBBHHH", 80, slot.source_port, 7000, 1001, 5 << 4, flags, 1000, 0, 0)
    body = with_checksum(bytearray(head + data), octets(SERVER) + octets(SOURCE))
    source, to = int(ip_address(SERVER)), int(ip_address(SOURCE))
    packet = write_v4(Packet(source, to, hops, 0x28, 6, len(body), bytes(body)))
    return packet if df else _without_df(packet)


def _without_df(packet: bytes) -> bytes:
    head = packet[:6] + b"\0\0" + packet[8:10] + bytes(2) + packet[12:20]
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + packet[20:]


def opened(stand: Stand) -> tuple[int, Slot]:
    (number,) = stand.open()
    stand.maps.mark(number, SYNACK)
    stand.sent("raw_v4")
    return number, stand.maps.read(number)


def joined(pieces: list[bytes]) -> bytes:
    """The payload of IPv6 fragments put together, which must fit without gaps."""
    found, seen = b"", set()
    for piece in pieces:
        kind, _, where, identification = struct.unpack_from("!BBHI", piece, 40)
        assert (piece[6], kind) == (44, 6)
        assert where & ~7 == len(found)
        seen.add(identification)
        found += piece[48:]
        assert bool(where & 1) == (piece is not pieces[-1])
    assert len(seen) == 1
    return found


def test_what_fits_is_sent_whole_to_the_client(stand: Stand) -> None:
    number, slot = opened(stand)
    fall(stand, from_server(slot, b"hello"))
    (sent,) = stand.sent("raw_v6")
    found = read_v6(sent)
    assert found is not None
    assert sent[8:40] == TO_CLIENT
    assert (found.hops, found.traffic_class) == (59, 0x28)
    assert found.payload[20:] == b"hello"
    assert found.payload[:4] == struct.pack("!HH", 80, slot.client_port)
    assert holds(found.payload, pseudo_sum(TO_CLIENT, found.length))
    assert stand.counted(CARRIED) == {"v6": 1}
    after = stand.maps.read(number).from_server
    assert (after.packets, after.octets, after.next, after.acked) == (1, 5, 7005, 1001)
    assert after.last > 0


def test_what_is_larger_than_the_clients_mtu_is_fragmented_again(stand: Stand) -> None:
    number, slot = opened(stand)
    data = bytes(range(256)) * 12
    fall(stand, from_server(slot, data))
    pieces = stand.sent("raw_v6")
    assert len(pieces) == 3
    assert all(len(piece) <= 1500 for piece in pieces)
    whole = joined(pieces)
    assert whole[20:] == data
    assert holds(whole, pseudo_sum(TO_CLIENT, len(whole)))
    assert stand.maps.read(number).from_server.packets == 1


def test_what_must_not_be_fragmented_is_answered(stand: Stand) -> None:
    """It has options: the program answers others itself."""
    _, slot = opened(stand)
    fall(stand, with_options(from_server(slot, bytes(1441), df=True)))
    assert not stand.sent("raw_v6")
    (sent,) = stand.sent("icmp_v4")
    message = icmp.read(sent)
    assert message is not None
    assert (message.kind, message.code, message.mtu) == (3, 4, 1480)
    fall(stand, with_options(from_server(slot, bytes(1440), df=True)))
    assert len(stand.sent("raw_v6")) == 1


def test_what_came_in_fragments_goes_in_fragments_whatever_they_said(stand: Stand) -> None:
    """With DF: each of them fitted, and the sender would make none of them smaller."""
    _, slot = opened(stand)
    data = bytes(range(256)) * 12
    fall(stand, from_server(slot, data, df=True))
    assert joined(stand.sent("raw_v6"))[20:] == data
    assert not stand.sent("icmp_v4")


def with_options(packet: bytes) -> bytes:
    """The IPv4 packet with four octets of options."""
    head = b"\x46" + packet[1:2] + (len(packet) + 4).to_bytes(2, "big") + packet[4:10] + b"\0\0"
    head += packet[12:20] + b"\1\1\1\0"
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + packet[20:]


def test_options_of_ipv4_are_left_out(stand: Stand) -> None:
    _, slot = opened(stand)
    fall(stand, with_options(from_server(slot, b"hello")))
    (sent,) = stand.sent("raw_v6")
    assert sent.endswith(b"hello")
    assert len(sent) == 40 + 25


def test_a_client_with_extension_headers_is_translated_without_them(stand: Stand) -> None:
    number, slot = opened(stand)
    plain = packet_v6(segment(ACK, b"request", number=1001, answer=7001))
    options = bytes([6, 0, 1, 4, 0, 0, 0, 0])  # destination options: padding
    length = (len(plain) - 40 + 8).to_bytes(2, "big")
    fall(stand, plain[:4] + length + b"\x3c" + plain[7:40] + options + plain[40:])
    (sent,) = stand.sent("raw_v4")
    assert sent[12:20] == TO_SERVER
    assert sent[20:24] == struct.pack("!HH", slot.source_port, 80)
    assert holds(sent[20:], pseudo_sum(TO_SERVER, len(sent) - 20))
    assert sent.endswith(b"request")
    assert sent[8] == 63
    after = stand.maps.read(number).from_client
    assert (after.packets, after.octets, after.next, after.acked) == (2, 7, 1008, 7001)
    assert stand.counted(CARRIED) == {"v4": 1}


@pytest.mark.parametrize("left", [0, 1])
def test_a_packet_that_has_a_way_to_go_is_answered(stand: Stand, left: int) -> None:
    """RFC 7915 §5.1: by its routing header, with the place of Segments Left."""
    opened(stand)
    plain = packet_v6(segment(ACK, b"request", number=1001, answer=7001))
    route = bytes([6, 2, 0, left]) + bytes(20)
    length = (len(plain) - 40 + len(route)).to_bytes(2, "big")
    fall(stand, plain[:4] + length + b"\x2b" + plain[7:40] + route + plain[40:])
    assert len(stand.sent("raw_v4")) == 1 - left
    answers = stand.sent("icmp_v6")
    assert len(answers) == left
    if left:
        message = icmp.read(answers[0])
        assert message is not None
        assert message[:3] == (4, 0, 43)
        assert message.body[8:24] == octets(CLIENT)


def test_a_damaged_segment_stays_damaged(stand: Stand) -> None:
    _, slot = opened(stand)
    packet = from_server(slot, b"hello")
    fall(stand, packet[:-1] + b"0")
    (sent,) = stand.sent("raw_v6")
    assert not holds(sent[40:], pseudo_sum(TO_CLIENT, len(sent) - 40))


def test_a_checksum_that_the_hardware_was_to_complete_is_completed(stand: Stand) -> None:
    _, slot = opened(stand)
    packet = from_server(slot, b"hello")
    partial = pseudo_sum(octets(SERVER) + octets(SOURCE), 25).to_bytes(2, "big")
    fall(stand, packet[:36] + partial + packet[38:])
    (sent,) = stand.sent("raw_v6")
    assert holds(sent[40:], pseudo_sum(TO_CLIENT, len(sent) - 40))


def test_a_large_packet_of_the_clients_is_fragmented_for_ipv4(stand: Stand) -> None:
    number, _ = opened(stand)
    stand.maps.reroute(number, 3, 3, 1000, 1500, 0, 0)
    data = bytes(range(256)) * 9
    fall(stand, packet_v6(segment(ACK, data, number=1001)))
    pieces = stand.sent("raw_v4")
    assert all(len(piece) <= 1000 for piece in pieces)
    whole = b"".join(piece[20:] for piece in pieces)
    assert whole[20:] == data
    assert holds(whole, pseudo_sum(TO_SERVER, len(whole)))


@given(st.integers(20, 4000), st.integers(68, 4100))
def test_pieces_of_ipv4_fit_and_make_the_whole(length: int, mtu: int) -> None:
    some = bytes(n & 255 for n in range(length))
    pieces = pieces_v4(Packet(0, 0, 64, 0, 6, length, b""), TO_SERVER, some, mtu)
    found, identifications = b"", set()
    for piece in pieces:
        _, _, total, identification, where = struct.unpack_from("!BBHHH", piece)
        assert total == len(piece) <= mtu
        assert where & 0x4000 == 0
        assert (where & 0x1FFF) * 8 == len(found)
        assert bool(where & 0x2000) == (piece is not pieces[-1])
        identifications.add(identification)
        found += piece[20:]
    assert found == some
    assert len(identifications) == 1
    assert 0 not in identifications


def test_a_fin_in_fragments_closes_its_half_and_the_second_the_flow(stand: Stand) -> None:
    number, slot = opened(stand)
    fall(stand, from_server(slot, b"bye", FIN | ACK))
    assert stand.maps.state_of(number) == SYNACK | FIN4
    assert stand.maps.read(number).from_server.next == 7004
    assert not stand.ends.closing
    fall(stand, packet_v6(segment(FIN | ACK, b"bye", number=1001)))
    assert stand.maps.state_of(number) == SYNACK | FIN4 | FIN6 | CLOSED
    assert len(stand.ends.closing) == 1
    fall(stand, packet_v6(segment(FIN | ACK, b"bye", number=1001)))
    assert len(stand.ends.closing) == 1
    stand.ends.expire(1 << 62)
    assert stand.reports.ends == ["closed"]


def test_an_old_segment_moves_no_number_back(stand: Stand) -> None:
    number, slot = opened(stand)
    fall(stand, from_server(slot, b"0123456789"))
    fall(stand, from_server(slot, b"01"))
    after = stand.maps.read(number).from_server
    assert (after.next, after.octets) == (7010, 12)


def test_packets_of_no_flow_are_reset_towards_ipv6_and_dropped_towards_ipv4(stand: Stand) -> None:
    number, slot = opened(stand)
    stand.ends.end([number], "killed", resets=False)
    fall(stand, packet_v6(segment(ACK, b"abc", answer=7000)))
    (reset,) = stand.sent("raw_v6")
    assert reset[8:40] == TO_CLIENT
    number_, _, _, flags = struct.unpack_from("!IIBB", reset, 44)
    assert (number_, flags) == (7000, RST)
    fall(stand, from_server(slot, b"abc"))
    assert not any(stand.sent(name) for name in stand.wires)
    assert stand.counted(STRAYS) == {"v4": 1, "v6": 1}


def test_resets_are_not_answered_and_answers_keep_to_a_rate(stand: Stand) -> None:
    fall(stand, packet_v6(segment(RST)), packet_v6(segment(RST | ACK)))
    assert not stand.sent("raw_v6")
    for _ in range(500 // BATCH + 1):
        fall(stand, *[packet_v6(segment(ACK))] * BATCH)
    assert len(stand.sent("raw_v6")) == 200


def test_packets_without_hops_left_are_answered(stand: Stand) -> None:
    _, slot = opened(stand)
    fall(stand, packet_v6(segment(ACK), hops=1), from_server(slot, b"", hops=1))
    assert stand.sent("icmp_v6")[0][:2] == b"\3\0"
    assert stand.sent("icmp_v4")[0][:2] == b"\x0b\0"
    assert not stand.sent("raw_v4") + stand.sent("raw_v6")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100), st.sampled_from([b"", b"\x45", b"\x60", b"\x46"]))
def test_no_packet_whatever_it_is_breaks_the_brain(stand: Stand, rest: bytes, first: bytes) -> None:
    fall(stand, first + rest)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        b"\x60" * 50,
        packet_v6(segment(ACK))[:-3],
        packet_v6()[:6] + b"\x11" + packet_v6()[7:],
    ],
)
def test_what_is_no_segment_is_dropped(stand: Stand, packet: bytes) -> None:
    fall(stand, packet)
    assert not any(stand.sent(name) for name in stand.wires)


def test_a_syn_counts_in_the_numbers(stand: Stand) -> None:
    number, slot = opened(stand)
    fall(stand, from_server(slot, b"", SYN | ACK))
    assert stand.maps.read(number).from_server.next == 7001
