from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.flow.flow_table import FlowTable
from faith.flow.flow_view import RECORDED
from faith.kernel.flow.layout import CLOSED, FIN4, FIN6, SYNACK
from faith.translation.flow_ports import PortPool
from faith.translation.ports import Ports
from faith.translation.reasons import CLIENT, CLIENT_SHARE, TOTAL
from tests.flow.stand import CLIENT as ADDRESS
from tests.flow.stand import Stand, packet_v6, settings

if TYPE_CHECKING:
    from faith.kernel.flow.flow_maps import FlowMaps


def shares_of(table: FlowTable) -> int:
    return table.open.taken


def test_what_is_released_is_nowhere_any_more(stand: Stand) -> None:
    one, two = stand.open(2)
    slot = stand.maps.read(one)
    stand.table.open.remove(stand.table.share_of(slot))
    stand.table.release([one])
    assert stand.maps.used() == [two]
    assert slot.key6 not in stand.table.by_key6
    assert slot.key4 not in stand.table.ports.holders
    for name, key in (("flows6", slot.key6), ("flows4", slot.key4)):
        with pytest.raises(FileNotFoundError):
            stand.maps.maps[name].delete(key)


def test_a_slot_is_used_again(stand: Stand) -> None:
    (number,) = stand.open()
    stand.table.open.remove(stand.table.share_of(stand.maps.read(number)))
    stand.table.release([number])
    assert stand.open() == [number]


def test_generations_are_never_0_and_wrap(stand: Stand) -> None:
    stand.table.keep_generation(0xFFFFFFFE)
    assert [stand.table.next_generation() for _ in range(3)] == [0xFFFFFFFF, 1, 2]


def test_reasons_to_refuse_are_the_limits(maps: FlowMaps) -> None:
    table = FlowTable(maps, settings(limit=10, flows_per_client=3))
    for _ in range(3):
        table.open.add(7)
    assert table.refuses(7) == CLIENT
    assert table.refuses(8) is None
    table.settings = settings(limit=6)
    assert table.refuses(7) == CLIENT_SHARE
    assert table.refuses(8) is None
    table.settings = settings(limit=3)
    assert table.refuses(8) == TOTAL


def test_a_limit_beyond_the_slots_is_that_of_the_slots(maps: FlowMaps) -> None:
    assert FlowTable(maps, settings(limit=100000)).open.limit == maps.slots


def test_a_table_resumes_from_the_maps(maps: FlowMaps) -> None:
    """Open, closed without a record, at rest, and without an answer: each goes on as what it is."""
    stand = Stand(maps)
    numbers = stand.open(4)
    established, closed, resting, waiting = numbers
    maps.mark(established, SYNACK)
    maps.mark(closed, SYNACK | FIN4 | FIN6 | CLOSED)
    maps.mark(resting, SYNACK | FIN4 | FIN6 | CLOSED | RECORDED)
    generation = stand.table.generation
    table = FlowTable(maps, settings(half_open=1))
    assert table.restore() == [closed]
    assert table.open.taken == 3
    assert [*table.ports.resting] == [maps.read(resting).key4]
    assert sorted(table.by_key6.values()) == sorted(table.ports.holders.values()) == numbers
    assert table.next_generation() == generation + 1
    assert len(table.half_open) == 1
    assert table.half_open.add(999 % maps.slots, 12345, 0) in (-1, waiting)
    free = table.place(b"x" * 12)
    assert free not in numbers


def test_a_flow_that_was_not_yet_in_the_kernels_tables_is_entered(maps: FlowMaps) -> None:
    stand = Stand(maps)
    (number,) = stand.open()
    slot = maps.read(number)
    maps.remove([(slot.key6, slot.key4)])
    FlowTable(maps, settings()).restore()
    for name, key in (("flows6", slot.key6), ("flows4", slot.key4)):
        maps.maps[name].delete(key)


def test_ports_that_rest_are_resumed_in_the_order_of_their_last_packets(maps: FlowMaps) -> None:
    stand = Stand(maps)
    one, two, three = stand.open(3)
    for number in (two, three, one):
        maps.mark(number, SYNACK | CLOSED | RECORDED)
        slot = maps.read(number)
        last = {two: 10, three: 20, one: 30}[number]
        maps.arrived(number, 88, slot.from_client._replace(last=last))
    table = FlowTable(maps, settings())
    table.restore()
    assert [table.ports.holders[key] for key in table.ports.resting] == [two, three, one]


def test_another_length_of_clients_counts_anew(maps: FlowMaps) -> None:
    stand = Stand(maps, client_length=128)
    stand.syn(*(packet_v6(client=f"{ADDRESS}{n}") for n in range(3)))
    one = maps.read(maps.used()[0])
    assert stand.table.open.held(stand.table.share_of(one)) == 1
    stand.table.settings = settings(client_length=64)
    assert stand.table.open.held(stand.table.share_of(one)) == 3
    assert stand.table.open.taken == 3


def test_keys_of_flows_in_other_maps_are_nobodys(maps: FlowMaps) -> None:
    stand = Stand(maps, address_ports=Ports([(1024, 1026)]))
    taken = stand.open(2)
    keys = [maps.read(number).key4 for number in taken]
    for number in taken:
        maps.remove([(maps.read(number).key6, maps.read(number).key4)])
        maps.clear(number)
    table = FlowTable(maps, stand.table.settings, keys)
    assert table.restore() == []
    pool = PortPool(Ports([(1024, 1026)]))
    (free,) = {key for _ in range(9) if (key := table.ports.choose(pool, keys[0][:10]))}
    assert free not in keys
