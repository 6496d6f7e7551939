"""The opening of flows, with real maps."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

import pytest

from faith.datagram.checksum import holds
from faith.datagram.packet import read_v6
from faith.flow.flow_counters import BEGUN, REFUSALS, SYNS
from faith.flow.opening import BATCH
from faith.flow.route_cache import NoRoute, RouteTo
from faith.flow.tcp_segment import ACK, RST
from faith.kernel.flow.layout import CLOSED, FIN4, FIN6, SYNACK
from faith.translation.ports import Ports
from faith.translation.pseudo_header import pseudo_sum, sum_change
from tests.flow.stand import (
    CLIENT,
    CLIENT_PORT,
    MAPPED,
    SERVER,
    SOURCE,
    WELL_KNOWN,
    Stand,
    octets,
    packet_v6,
    policy,
    segment,
    settings,
)

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps


def is_reset(packet: bytes, *, acknowledging: int) -> bool:
    """Whether an IPv6 packet is a reset for the client that acknowledges so much."""
    found = read_v6(packet)
    assert found is not None
    assert holds(found.payload, pseudo_sum(packet[8:40], 20))
    _, _, _, answer, _, flags = struct.unpack_from("!HHIIBB", found.payload)
    to_client = packet[8:40] == octets(MAPPED) + octets(CLIENT)
    return to_client and (flags, answer) == (RST | ACK, acknowledging)


def icmp_of(packet: bytes) -> tuple[int, int]:
    return packet[0], packet[1]


def looked_up(maps: FlowMaps, name: str, key: bytes) -> bool:
    """Whether the kernel's table has *key*: it can be removed then."""
    try:
        maps.maps[name].delete(key)
    except FileNotFoundError:
        return False
    return True


def test_a_syn_makes_a_slot_two_keys_and_a_translated_syn(stand: Stand) -> None:
    (number,) = stand.open()
    slot = stand.maps.read(number)
    assert (slot.client, slot.mapped) == (octets(CLIENT), octets(MAPPED))
    assert (slot.source, slot.server) == (octets(SOURCE), octets(SERVER))
    assert (slot.client_port, slot.server_port) == (CLIENT_PORT, 80)
    assert (slot.oif4, slot.oif6, slot.mtu4, slot.mtu6) == (3, 3, 1500, 1500)
    assert (slot.mss4, slot.mss6) == (1440, 1440)
    assert slot.sum64 == sum_change(slot.client + slot.mapped, slot.source + slot.server)
    assert slot.from_client.next == 1001
    assert (slot.from_client.packets, slot.from_server.packets) == (1, 0)
    (sent,) = stand.sent("raw_v4")
    assert sent[12:20] == octets(SOURCE) + octets(SERVER)
    assert holds(sent[20:], pseudo_sum(sent[12:20], len(sent) - 20))
    assert int.from_bytes(sent[20:22], "big") == slot.source_port
    assert looked_up(stand.maps, "flows6", slot.key6)
    assert looked_up(stand.maps, "flows4", slot.key4)
    assert stand.reports.begun_ == [slot.generation]
    assert stand.counted(BEGUN) == {"": 1}


def test_the_keys_are_there_before_the_syn_is_sent(stand: Stand) -> None:
    found = []
    wire = stand.wires["raw_v4"]
    send = wire.sendto

    def sendto(packet: bytes, to: object) -> None:
        (number,) = stand.maps.used()
        found.append(looked_up(stand.maps, "flows4", stand.maps.read(number).key4))
        send(packet, to)

    wire.sendto = sendto  # type: ignore[method-assign]
    stand.open()
    assert found == [True]


def test_a_batch_is_entered_at_once_and_no_more_are_read_in_a_turn(stand: Stand) -> None:
    stand.syns.packets = [
        (packet_v6(port=1024 + n, client=f"2001:db8:{n}::1"), 2) for n in range(65)
    ]
    stand.opening.read()
    assert len(stand.maps.used()) <= BATCH
    assert len(stand.syns.packets) == 65 - BATCH


def test_a_syn_that_comes_again_is_sent_again_and_makes_no_second_flow(stand: Stand) -> None:
    stand.syn(packet_v6(), packet_v6())
    stand.syn(packet_v6())
    assert len(stand.maps.used()) == 1
    first, *others = stand.sent("raw_v4")
    assert others == [first, first]
    assert len(stand.reports.begun_) == 1
    assert stand.counted(SYNS) == {"new": 1, "repeated": 2}


def test_a_damaged_syn_and_what_is_none_are_dropped_and_counted(stand: Stand) -> None:
    packet = packet_v6()
    stand.syn(packet[:44] + b"\xff" + packet[45:], packet_v6(segment(ACK)), b"")
    assert stand.maps.used() == []
    assert not stand.sent("raw_v6")
    assert stand.counted(SYNS) == {"damaged": 3}


@pytest.mark.parametrize(
    ("rules", "mapped", "why"),
    [
        (["::/0 deny 0.0.0.0/0"], MAPPED, "denied by a rule"),
        (["2001:db8:9::/48 permit 0.0.0.0/0"], MAPPED, "no rule permits it"),
        ([], "2001:db8:ffff::127.0.0.1", "special destination"),
        ([], "2001:db8:eeee::1", "prefix gone"),
    ],
)
def test_what_the_policy_refuses_is_reset_at_once(
    maps: FlowMaps, rules: list[str], mapped: str, why: str
) -> None:
    stand = Stand(maps, *rules)
    stand.syn(packet_v6(mapped=mapped))
    (reset,) = stand.sent("raw_v6")
    assert reset[8:24] == octets(mapped)
    assert maps.used() == []
    assert stand.reports.refused_ == [(why, CLIENT)]
    assert stand.counted(REFUSALS) == {why: 1}
    assert not stand.sent("raw_v4")


def test_a_client_inside_the_prefix_hears_nothing(stand: Stand) -> None:
    """RFC 6146 §3.5: its answer could come back here, and be translated again."""
    inside = "2001:db8:ffff::198.51.100.9"
    stand.syn(packet_v6(client=inside))
    assert not any(stand.sent(name) for name in stand.wires)
    assert stand.counted(REFUSALS) == {"source inside the prefix": 1}


@pytest.mark.parametrize(("server", "opens"), [("10.0.0.1", False), ("203.0.112.1", True)])
def test_nothing_private_is_reached_behind_the_well_known_prefix(
    stand: Stand, server: str, opens: bool
) -> None:
    """RFC 6052 §3.1."""
    stand.judge.policy = policy(prefix=WELL_KNOWN)
    stand.syn(packet_v6(mapped=f"64:ff9b::{server}"))
    assert len(stand.sent("raw_v4")) == opens
    refused = {} if opens else {"not global, behind the well-known prefix": 1}
    assert stand.counted(REFUSALS) == refused


def test_a_refusal_acknowledges_the_syn(maps: FlowMaps) -> None:
    stand = Stand(maps, "::/0 deny 0.0.0.0/0")
    stand.syn(packet_v6())
    assert is_reset(stand.sent("raw_v6")[0], acknowledging=1001)


@pytest.mark.parametrize(
    ("error", "message"),
    [(errno.ENETUNREACH, (1, 0)), (errno.EHOSTUNREACH, (1, 0)), (errno.EACCES, (1, 1))],
)
def test_without_a_route_the_client_has_an_error_and_no_reset(
    stand: Stand, error: int, message: tuple[int, int]
) -> None:
    stand.routes.told[SERVER] = NoRoute(error)
    stand.syn(packet_v6())
    (sent,) = stand.sent("icmp_v6")
    assert icmp_of(sent) == message
    assert sent[8:] == packet_v6()
    assert not stand.sent("raw_v6")
    assert stand.reports.refused_ == [("unreachable", CLIENT)]


def test_a_server_on_the_gateway_itself_is_not_reached_this_way(stand: Stand) -> None:
    stand.routes.told[SERVER] = RouteTo(1, 65535, octets(SERVER), True)
    stand.syn(packet_v6())
    assert [why for why, _ in stand.reports.refused_] == ["the gateway's own address"]


def test_a_source_that_the_gateway_does_not_have_is_none(maps: FlowMaps) -> None:
    stand = Stand(maps, "::/0 permit 0.0.0.0/0 203.0.113.5")
    stand.routes.absent.add("203.0.113.5")
    stand.syn(packet_v6())
    assert [why for why, _ in stand.reports.refused_] == ["no source"]
    assert len(stand.sent("raw_v6")) == 1


def test_a_syn_without_hops_left_has_the_time_exceeded(stand: Stand) -> None:
    stand.syn(packet_v6(hops=1))
    assert icmp_of(stand.sent("icmp_v6")[0]) == (3, 0)
    assert stand.reports.refused_ == [("hop limit", CLIENT)]
    assert stand.maps.used() == []


@pytest.mark.parametrize("hops", [0, 1])
def test_a_syn_that_comes_again_without_hops_left_is_not_sent_on(stand: Stand, hops: int) -> None:
    stand.open()
    stand.sent("raw_v4")
    stand.syn(packet_v6(hops=hops))
    assert not stand.sent("raw_v4")
    assert icmp_of(stand.sent("icmp_v6")[0]) == (3, 0)


def test_a_failure_in_a_batch_does_not_keep_the_others_back(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = stand.judge.judge

    def fail(ends: bytes, interface: int) -> object:
        if ends.startswith(octets("2001:db8:2::1")):
            raise RuntimeError("as told")
        return judge(ends, interface)

    monkeypatch.setattr(stand.judge, "judge", fail)
    with pytest.raises(RuntimeError, match="as told"):
        stand.syn(packet_v6(), packet_v6(client="2001:db8:2::1"))
    assert len(stand.sent("raw_v4")) == 1


def test_a_translated_syn_has_one_hop_less(stand: Stand) -> None:
    stand.syn(packet_v6(hops=2, octet=0xB8))
    (sent,) = stand.sent("raw_v4")
    assert (sent[8], sent[1]) == (1, 0xB8)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"flows_per_client": 3}, "too many sessions of the client"),
        ({"limit": 6}, "over the client's share"),
        ({"rate_per_client": 0.6}, "too many new sessions of the client"),
        ({"rate": 0.6}, "too many new sessions"),
        ({"address_ports": Ports([(1024, 1026)])}, "no free source port"),
    ],
)
def test_what_goes_beyond_a_limit_is_reset_by_its_reason(
    maps: FlowMaps, changed: dict[str, object], why: str
) -> None:
    stand = Stand(maps, **changed)
    assert len(stand.open(4)) == 3
    assert [found for found, _ in stand.reports.refused_] == [why]
    assert is_reset(stand.sent("raw_v6")[0], acknowledging=1001)


def test_when_all_places_are_taken_even_a_stranger_is_refused(maps: FlowMaps) -> None:
    stand = Stand(maps, limit=3)
    stand.syn(*(packet_v6(client=f"2001:db8:{n}::1") for n in range(4)))
    assert stand.reports.refused_ == [("too many sessions", "2001:db8:3::1")]


def test_a_crowd_of_one_network_leaves_places_for_others(maps: FlowMaps) -> None:
    stand = Stand(maps, limit=32)
    crowd = [packet_v6(client=f"2001:db8:1::{n:x}", port=2000) for n in range(1, 60)]
    stand.syn(*crowd)
    assert stand.table.open.taken == 16
    stand.syn(packet_v6(client="2001:db8:2::1"))
    assert stand.table.open.taken == 17


def closed(stand: Stand, number: int) -> None:
    """The flow is closed and recorded."""
    stand.maps.mark(number, SYNACK | FIN6 | FIN4 | CLOSED)
    stand.ends.finish(number)


def test_the_same_client_port_has_the_same_mapping_in_a_new_generation(stand: Stand) -> None:
    (number,) = stand.open()
    before = stand.maps.read(number)
    closed(stand, number)
    stand.syn(packet_v6(segment(number=5000)))
    assert stand.maps.used() == [number]
    slot = stand.maps.read(number)
    assert slot.key4 == before.key4
    assert slot.generation > before.generation
    assert slot.state == 0
    assert (slot.from_client.next, slot.from_client.packets) == (5001, 1)
    assert slot.from_server.packets == 0
    assert stand.reports.ended_ == [(before.generation, "closed")]
    assert stand.reports.begun_ == [before.generation, slot.generation]
    assert stand.table.open.taken == 1
    assert not stand.table.ports.resting


def test_a_session_that_comes_before_the_record_of_the_last_has_it_written_first(
    stand: Stand,
) -> None:
    (number,) = stand.open()
    generation = stand.maps.generation_of(number)
    stand.maps.mark(number, SYNACK | FIN6 | FIN4 | CLOSED)
    stand.ends.closed(number, generation, 0)
    stand.syn(packet_v6())
    assert stand.reports.ended_ == [(generation, "closed")]
    stand.ends.expire(1 << 62)
    assert stand.reports.ends == ["closed"]
    assert stand.table.open.taken == 1


def test_a_client_that_comes_again_under_other_rules_has_what_they_say(stand: Stand) -> None:
    (number,) = stand.open()
    closed(stand, number)
    stand.judge.policy = policy("::/0 permit 0.0.0.0/0 198.51.100.10")
    stand.judge.clear()
    stand.syn(packet_v6())
    (number,) = stand.maps.used()
    assert stand.maps.read(number).source == octets("198.51.100.10")
    stand.maps.mark(number, CLOSED)
    stand.judge.policy = policy("::/0 deny 0.0.0.0/0")
    stand.judge.clear()
    stand.syn(packet_v6())
    assert [why for why, _ in stand.reports.refused_] == ["denied by a rule"]
    assert stand.table.open.taken == 0


def test_a_client_that_comes_again_has_no_port_that_is_no_longer_given(stand: Stand) -> None:
    (number,) = stand.open()
    closed(stand, number)
    stand.judge.settings = settings(address_ports=Ports([(1700, 1799)]))
    stand.syn(packet_v6())
    (number,) = stand.maps.used()
    assert 1700 <= stand.maps.read(number).source_port <= 1799


def test_a_port_that_rests_is_given_early_when_all_are_taken(maps: FlowMaps) -> None:
    stand = Stand(maps, address_ports=Ports([(1024, 1026)]))
    one, two, _ = stand.open(3)
    key4 = maps.read(two).key4
    closed(stand, two)
    closed(stand, one)
    stand.syn(packet_v6(port=50000))
    assert stand.table.ports.holders[key4] in maps.used()
    assert len(maps.used()) == 3
    assert stand.table.open.taken == 2


def test_a_slot_whose_port_rests_makes_room_when_all_are_taken(maps: FlowMaps) -> None:
    stand = Stand(maps)
    for n in range(maps.slots):
        (number,) = stand.open(client=f"2001:db8:{n:x}::1")
        closed(stand, number)
    stand.syn(packet_v6(client="2001:db8:999::1"))
    assert len(stand.reports.begun_) == maps.slots + 1
    assert len(maps.used()) == maps.slots


@pytest.mark.parametrize(
    ("failure", "message"),
    [(errno.EHOSTUNREACH, (1, 0)), (errno.ENETUNREACH, (1, 0)), (errno.EPERM, (1, 1))],
)
def test_a_syn_that_cannot_be_sent_ends_the_flow_and_the_client_is_told(
    stand: Stand, failure: int, message: tuple[int, int]
) -> None:
    stand.wires["raw_v4"].fails = failure
    stand.syn(packet_v6())
    assert icmp_of(stand.sent("icmp_v6")[0]) == message
    assert stand.reports.ends == ["unreachable"]
    assert stand.maps.used() == []
    assert stand.table.open.taken == 0


def test_a_source_that_the_kernel_refuses_to_send_from_is_reset(stand: Stand) -> None:
    stand.wires["raw_v4"].fails = errno.EINVAL
    stand.syn(packet_v6())
    assert is_reset(stand.sent("raw_v6")[0], acknowledging=1001)
    assert stand.reports.ends == ["no source"]


def test_a_syn_lost_for_want_of_memory_comes_again(stand: Stand) -> None:
    stand.wires["raw_v4"].fails = errno.ENOBUFS
    stand.syn(packet_v6())
    assert len(stand.maps.used()) == 1
    assert not stand.reports.ends


def test_without_room_in_the_kernel_nothing_stays(stand: Stand) -> None:
    def insert(flows: object) -> None:
        raise OSError(errno.ENOMEM, "as told")

    stand.maps.insert = insert  # type: ignore[method-assign]
    stand.syn(packet_v6())
    assert stand.reports.refused_ == [("shed", CLIENT)]
    assert stand.maps.used() == []
    assert not stand.table.by_key6
    assert not stand.table.ports.holders
    assert stand.table.open.taken == 0


def test_data_of_a_syn_goes_along_where_it_fits(stand: Stand) -> None:
    stand.syn(packet_v6(segment(data=b"hello")))
    assert stand.sent("raw_v4")[0].endswith(b"hello")
    (number,) = stand.maps.used()
    assert stand.maps.read(number).from_client.next == 1001 + 5


def test_data_of_a_syn_stays_behind_where_it_does_not_fit(stand: Stand) -> None:
    stand.routes.told[SERVER] = RouteTo(5, 600, b"", False)
    for _ in range(2):
        stand.syn(packet_v6(segment(data=bytes(600))))
        assert len(stand.sent("raw_v4")[0]) == 20 + 24
    (number,) = stand.maps.used()
    side = stand.maps.read(number).from_client
    assert (side.next, side.octets) == (1001, 0)


def test_the_mss_is_what_both_sides_and_the_settings_allow(maps: FlowMaps) -> None:
    stand = Stand(maps, mss=1220)
    stand.syn(packet_v6())
    assert stand.sent("raw_v4")[0][42:44] == (1220).to_bytes(2, "big")
    stand = Stand(maps)
    stand.routes.told[SERVER] = RouteTo(5, 1300, octets(SOURCE), False)
    stand.syn(packet_v6(port=50001))
    assert stand.sent("raw_v4")[0][42:44] == (1260).to_bytes(2, "big")
    stand.routes.told[CLIENT] = RouteTo(6, 1280, b"", False)
    stand.routes.clear()
    stand.judge.clear()
    stand.syn(packet_v6(port=50002))
    assert stand.sent("raw_v4")[0][42:44] == (1220).to_bytes(2, "big")


def test_a_link_local_client_is_answered_where_it_is(maps: FlowMaps) -> None:
    stand = Stand(maps)
    (number,) = stand.open(client="fe80::7")
    assert stand.maps.read(number).oif6 == 2
    stand = Stand(maps, "::/0 deny 0.0.0.0/0")
    stand.syn(packet_v6(client="fe80::7", port=7), interface=4)
    assert stand.wires["raw_v6"].to == [("fe80::7", 0, 0, 4)]


def test_judgements_and_routes_are_asked_for_once(stand: Stand) -> None:
    stand.open(20)
    assert sorted(stand.routes.asked) == [SERVER, CLIENT]
