from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import pytest

from faith.datagram.checksum import holds
from faith.flow.flow_counters import ENDED
from faith.flow.flow_ends import MOST_AT_ONCE, SETTLING
from faith.flow.flow_view import RECORDED
from faith.flow.tcp_segment import ACK, RST
from faith.kernel.flow import layout
from faith.kernel.flow.layout import CLOSED, FIN4, FIN6, RST4, RST6, SYNACK, Side
from faith.translation.pseudo_header import pseudo_sum
from faith.translation.reasons import IDLE, KILLED
from tests.flow.stand import CLIENT, MAPPED, SERVER, SOURCE, Stand, octets

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps

TRANS = 240 * 1_000_000_000


def close(stand: Stand, number: int, state: int) -> None:
    stand.maps.mark(number, state | CLOSED)
    stand.ends.closed(number, stand.maps.generation_of(number), 0)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (SYNACK | FIN4 | FIN6, "closed"),
        (SYNACK | RST6, "client reset"),
        (SYNACK | RST4, "server reset"),
        (RST4, "refused"),
    ],
)
def test_a_closed_flow_is_recorded_by_the_packets_that_closed_it(
    stand: Stand, state: int, why: str
) -> None:
    (number,) = stand.open()
    close(stand, number, state)
    stand.ends.expire(SETTLING - 1)
    assert stand.reports.ends == []
    stand.ends.expire(SETTLING)
    assert stand.reports.ends == [why]
    assert stand.counted(ENDED) == {why: 1}
    assert stand.table.open.taken == 0


def test_what_comes_just_after_a_close_still_counts(stand: Stand) -> None:
    (number,) = stand.open()
    close(stand, number, SYNACK | FIN4 | FIN6)
    stand.maps.arrived(number, layout.SERVER, Side(packets=9, octets=1000))
    stand.ends.expire(SETTLING)
    assert stand.reports.views[0].received == 1000


def test_an_event_about_an_earlier_flow_of_the_slot_ends_nothing(stand: Stand) -> None:
    (number,) = stand.open()
    stand.ends.closed(number, stand.maps.generation_of(number) - 1, 0)
    stand.ends.expire(SETTLING)
    assert stand.reports.ends == []


def test_a_close_is_recorded_once(stand: Stand) -> None:
    (number,) = stand.open()
    for _ in range(2):
        close(stand, number, SYNACK | FIN4 | FIN6)
    stand.ends.expire(SETTLING)
    stand.ends.finish(number)
    assert stand.reports.ends == ["closed"]
    assert stand.table.open.taken == 0


def test_a_port_rests_and_is_free_then(stand: Stand) -> None:
    (number,) = stand.open()
    close(stand, number, SYNACK | FIN4 | FIN6)
    stand.ends.expire(SETTLING)
    assert stand.maps.used() == [number]
    assert stand.maps.state_of(number) & RECORDED
    stand.ends.expire(time.monotonic_ns() + TRANS - 5_000_000_000)
    assert stand.maps.used() == [number]
    stand.ends.expire(time.monotonic_ns() + TRANS)
    assert stand.maps.used() == []
    assert not stand.table.ports.resting


def test_many_ends_are_dealt_with_in_portions(large_maps: FlowMaps) -> None:
    stand = Stand(large_maps)
    for n in range(8):
        stand.open(MOST_AT_ONCE // 8 + 1, client=f"2001:db8:{n}::1")
    total = len(large_maps.used())
    for number in large_maps.used():
        close(stand, number, SYNACK | FIN4 | FIN6)
    assert stand.ends.expire(SETTLING)
    assert len(stand.reports.ends) == MOST_AT_ONCE
    assert not stand.ends.expire(SETTLING)
    assert len(stand.reports.ends) == total
    later = time.monotonic_ns() + TRANS
    assert stand.ends.expire(later)
    assert not stand.ends.expire(later)
    assert large_maps.used() == []


def numbers(segment: bytes) -> tuple[int, int, int]:
    number, answer, _, flags = struct.unpack_from("!IIBB", segment, 4)
    return number, answer, flags


def test_both_ends_of_a_killed_flow_get_a_reset_that_they_accept(stand: Stand) -> None:
    (number,) = stand.open()
    stand.maps.mark(number, SYNACK)
    slot = stand.maps.read(number)
    stand.maps.arrived(number, layout.CLIENT, Side(next=1500, acked=7700))
    stand.maps.arrived(number, layout.SERVER, Side(next=7800, acked=1400))
    stand.sent("raw_v4")
    stand.ends.end([number], KILLED)
    to_client, to_server = stand.sent("raw_v6"), stand.sent("raw_v4")
    for packet in to_client:
        assert packet[8:40] == octets(MAPPED) + octets(CLIENT)
        assert packet[40:44] == struct.pack("!HH", 80, slot.client_port)
        assert holds(packet[40:], pseudo_sum(packet[8:40], 20))
    for packet in to_server:
        assert packet[12:20] == octets(SOURCE) + octets(SERVER)
        assert packet[20:24] == struct.pack("!HH", slot.source_port, 80)
        assert holds(packet[20:], pseudo_sum(packet[12:20], 20))
    assert {numbers(packet[40:]) for packet in to_client} == {(7700, 0, RST), (7800, 0, RST)}
    assert {numbers(packet[20:]) for packet in to_server} == {(1400, 0, RST), (1500, 0, RST)}
    assert stand.reports.ends == ["killed"]
    assert stand.maps.used() == []
    assert stand.table.open.taken == 0


def test_a_client_that_waits_for_its_answer_is_refused(stand: Stand) -> None:
    (number,) = stand.open()
    stand.sent("raw_v4")
    stand.ends.end([number], KILLED)
    (to_client,), (to_server,) = stand.sent("raw_v6"), stand.sent("raw_v4")
    assert numbers(to_client[40:]) == (0, 1001, RST | ACK)
    assert numbers(to_server[20:]) == (1001, 0, RST)


def test_a_flow_that_has_closed_is_recorded_as_closed_whatever_ends_it(stand: Stand) -> None:
    one, two = stand.open(2)
    close(stand, one, SYNACK | FIN4 | FIN6)
    close(stand, two, SYNACK | FIN4 | FIN6)
    stand.ends.finish(two)
    stand.sent("raw_v4")
    stand.ends.end([one, two], IDLE)
    assert stand.reports.ends == ["closed", "closed"]
    assert not stand.sent("raw_v4") + stand.sent("raw_v6")
    stand.ends.expire(SETTLING)
    assert stand.reports.ends == ["closed", "closed"]


def test_a_flow_without_an_answer_ends_as_what_was_learned_of_it(stand: Stand) -> None:
    one, two, three = stand.open(3)
    stand.ends.learned[one] = stand.maps.generation_of(one), "unreachable"
    stand.ends.learned[two] = stand.maps.generation_of(two) - 1, "unreachable"
    stand.ends.time_out([one, two, three])
    assert stand.reports.ends == ["unreachable", "timeout", "timeout"]
    assert stand.maps.used() == []
    assert not stand.ends.learned
