"""The maps of flows in the kernel, without the program: tests/netns/test_flow_program.py has it."""

from __future__ import annotations

import errno
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.bpf.bpf import Map
from faith.kernel.descriptor import descriptors
from faith.kernel.flow import layout
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.flow.layout import Side, Slot
from faith.kernel.flow.map_kinds import COUNTERS, kinds
from faith.kernel.process import capabilities
from faith.translation.ports import Ports
from tests.test_flow_layout import SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]


@pytest.fixture
def maps() -> Iterator[FlowMaps]:
    with FlowMaps.create(8) as maps:
        yield maps


def slot(number: int) -> Slot:
    return SLOT._replace(client_port=number, source_port=number, from_server=Side())


def keys(number: int) -> tuple[bytes, bytes]:
    return slot(number).key6, slot(number).key4


def entered(maps: FlowMaps) -> tuple[set[bytes], set[bytes]]:
    """The keys in both tables."""
    first, second = maps.maps["flows6"], maps.maps["flows4"]
    return set(first.keys(layout.KEY6)), set(second.keys(layout.KEY4))


def test_slots_are_written_read_and_cleared(maps: FlowMaps) -> None:
    maps.write(3, SLOT)
    assert maps.read(3) == SLOT
    assert (maps.state_of(3), maps.generation_of(3)) == (SLOT.state, SLOT.generation)
    maps.clear(3)
    assert maps.read(3).started == 0
    assert maps.read(2) == maps.read(3)


def test_slots_in_use_and_silent_ones_are_found(maps: FlowMaps) -> None:
    assert (maps.used(), maps.silent(1 << 62)) == ([], [])
    for number, (client, server) in enumerate([(10, 0), (10, 30), (30, 0)]):
        sides = {"from_client": Side(last=client), "from_server": Side(last=server)}
        maps.write(2 * number, slot(1)._replace(started=5, **sides))  # type: ignore[arg-type]
    assert maps.used() == [0, 2, 4]
    assert maps.silent(20) == [0]
    assert maps.silent(31) == [0, 2, 4]
    assert maps.silent(10) == []
    maps.mark(4, layout.SYNACK)
    assert maps.open() == 3
    maps.mark(2, layout.CLOSED)
    assert maps.open() == 2
    maps.clear(0)
    assert maps.used() == [2, 4]
    assert maps.open() == 1


def test_a_hundred_thousand_slots_are_swept_without_a_system_call_each() -> None:
    with FlowMaps.create(100_000) as maps:
        for number in range(0, 100_000, 10):
            maps.write(number, slot(1))
        assert maps.silent(1 << 62) == maps.used() == list(range(0, 100_000, 10))


def test_a_new_session_in_a_slot_keeps_its_mapping(maps: FlowMaps) -> None:
    maps.write(1, SLOT)
    maps.clear_state(1, 8, 99, 1234)
    expected = {"state": 0, "generation": 8, "started": 99}
    sides = {"from_client": Side(next=1234, last=99), "from_server": Side()}
    assert maps.read(1) == SLOT._replace(**expected, **sides)  # type: ignore[arg-type]


def test_the_way_of_a_flow_changes_without_its_state(maps: FlowMaps) -> None:
    maps.write(1, SLOT)
    maps.reroute(1, 11, 12, 65536, 1280, 1400, 1300)
    changed = {"oif4": 11, "oif6": 12, "mtu4": 65535, "mtu6": 1280, "mss4": 1400, "mss6": 1300}
    assert maps.read(1) == SLOT._replace(**changed)  # type: ignore[arg-type]


def test_flows_are_entered_and_removed_many_at_once(maps: FlowMaps) -> None:
    maps.insert([(*keys(number), number) for number in range(5)])
    assert entered(maps) == tuple(map(set, zip(*map(keys, range(5)), strict=True)))
    # 9 was never there, and must not keep the others from going
    maps.remove([keys(0), keys(9), keys(1), keys(9), keys(2)])
    assert entered(maps) == tuple(map(set, zip(keys(3), keys(4), strict=True)))
    maps.remove([])
    maps.insert([])


def test_where_the_kernel_has_no_batches_it_is_one_by_one(
    maps: FlowMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = bpf._bpf

    def without(command: int, attributes: bytes | bytearray) -> int:
        if command in (bpf._MAP_UPDATE_BATCH, bpf._MAP_DELETE_BATCH):
            raise OSError(errno.EINVAL, "no")
        return call(command, attributes)

    monkeypatch.setattr(bpf, "_bpf", without)
    maps.insert([(*keys(number), number) for number in range(3)])
    maps.remove([keys(0), keys(9), keys(1)])
    assert entered(maps) == ({keys(2)[0]}, {keys(2)[1]})


def test_what_does_not_fit_is_not_left_half_entered(maps: FlowMaps) -> None:
    maps.insert([(*keys(number), number) for number in range(6)])
    before = entered(maps)
    with pytest.raises(OSError, match=r"too long|No space"):
        maps.insert([(*keys(number), number) for number in range(10, 20)])
    assert entered(maps) == before


def test_prefixes_are_replaced(maps: FlowMaps) -> None:
    first, second, third = ((n << 96, 32) for n in (1, 2, 3))
    maps.set_prefixes([first, second])
    maps.set_prefixes([second, third])
    found = set(maps.maps["prefixes"].keys(20))
    assert {key[4:] for key in found} == {n.to_bytes(16, "big") for n, _ in (second, third)}
    maps.set_prefixes([])
    assert not set(maps.maps["prefixes"].keys(20))


def test_settings_are_in_the_units_of_the_program(maps: FlowMaps) -> None:
    maps.configure(client_rate=100, client_burst=5, rate=0, burst=9, client_length=56)
    words = maps._settings[:80].cast("Q").tolist()
    assert words[:6] == [layout.LAYOUT, 0, 10_000_000, 40_000_000, 0, 0]
    assert bytes(maps._settings[80:]) == b"\xff" * 7 + bytes(9)
    maps.heartbeat(77)
    assert maps._settings[:16].cast("Q")[1] == 77


def test_ports_are_bits(maps: FlowMaps) -> None:
    maps.set_ports(Ports([(1, 1), (63, 64), (65535, 65535)]))
    words = maps._ports.tolist()
    assert (words[0], words[1], words[1023]) == (1 << 63 | 2, 1, 1 << 63)
    assert not any(words[2:1023])
    maps.set_ports(Ports([]))
    assert not any(maps._ports.tolist())


def test_counters_are_sums_over_all_cpus(maps: FlowMaps) -> None:
    cpus = kinds(8)["counters"][3]
    for cpu in range(cpus):
        maps._counters[16 * cpu + COUNTERS.index("upcalls")] = 3
    assert maps.counters() == {name: 3 * cpus * (name == "upcalls") for name in COUNTERS}


def test_there_are_no_events_at_first(maps: FlowMaps) -> None:
    assert maps.events(10) == []


def test_another_process_adopts_them_and_needs_no_rights(fork: Fork) -> None:
    with FlowMaps.create(8) as maps:
        state = json.loads(json.dumps(maps.state()))

        def body(report: Report) -> object:
            capabilities.drop(capabilities.default_user())
            adopted = FlowMaps.adopt(state)
            adopted.write(1, SLOT)
            adopted.insert([(*keys(0), 1), (*keys(1), 2)])
            adopted.remove([keys(0)])
            adopted.set_prefixes([(1 << 96, 32)])
            adopted.set_ports(Ports([(80, 80)]))
            adopted.heartbeat(time.monotonic_ns())
            assert not any(adopted.counters().values())
            return adopted.events(1)

        assert len(descriptors(maps.state())) == len(kinds(8))
        assert fork(body).report() == []
        assert maps.read(1) == SLOT
        assert entered(maps) == ({keys(1)[0]}, {keys(1)[1]})


def test_maps_of_another_layout_are_not_adopted(maps: FlowMaps) -> None:
    with pytest.raises(ValueError, match="flows of layout 0"):
        FlowMaps.adopt({**maps.state(), "layout": 0})


def test_all_is_given_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    with FlowMaps.create(8) as maps:
        maps.close()
    assert os.listdir("/proc/self/fd") == before

    def fails(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr("faith.kernel.flow.flow_maps.EventRing", fails)
    with pytest.raises(OSError, match="no memory"):
        FlowMaps.create(8)
    assert os.listdir("/proc/self/fd") == before


def test_keys_of_a_map_that_is_empty() -> None:
    with Map.create(bpf.MAP_HASH, "test", key=4, value=4, entries=1) as empty:
        assert list(empty.keys(4)) == []
