from __future__ import annotations

import socket
import struct

import pytest

from faith.kernel.flow import layout
from faith.kernel.flow.layout import Event, Side, Slot

SLOT = Slot(
    client=bytes(range(16)),
    mapped=bytes(range(16, 32)),
    source=b"\xc6\x33\x64\x09",
    server=b"\xc0\x00\x02\x50",
    source_port=1024,
    client_port=40000,
    server_port=80,
    oif4=3,
    oif6=2,
    sum64=0x12345,
    sum46=0xFFFF,
    mtu4=1500,
    mtu6=1400,
    mss4=1440,
    mss6=1220,
    state=layout.SYNACK | layout.ESTABLISHED,
    generation=7,
    started=1 << 40,
    from_client=Side(0xFFFFFFFF, 2, (1 << 40) + 3, 4, 5),
    from_server=Side(6, 7, 8, 9, 1 << 50),
)


def written(slot: Slot) -> memoryview:
    memory = memoryview(bytearray(2 * layout.SLOT.size))
    layout.write_slot(memory, layout.SLOT.size, slot)
    assert bytes(memory[: layout.SLOT.size]) == bytes(layout.SLOT.size)
    return memory[layout.SLOT.size :]


def test_a_slot_is_read_as_it_was_written() -> None:
    assert layout.read_slot(written(SLOT), 0) == SLOT


def test_a_slot_lies_as_the_program_reads_it() -> None:
    octets = written(SLOT)
    assert layout.SLOT.size == 160
    assert bytes(octets[:40]) == SLOT.client + SLOT.mapped + SLOT.source + SLOT.server
    assert bytes(octets[40:46]) == struct.pack("!HHH", 1024, 40000, 80)
    assert struct.unpack_from("=II", octets, layout.OIF) == (3, 2)
    assert struct.unpack_from("=HHHH", octets, layout.SIZES) == (1500, 1400, 1440, 1220)
    assert struct.unpack_from("=I", octets, layout.STATE) == (SLOT.state,)
    assert struct.unpack_from("=I", octets, layout.GENERATION) == (7,)
    assert struct.unpack_from("=Q", octets, layout.STARTED) == (1 << 40,)
    assert layout.SIDE.unpack_from(octets, layout.CLIENT) == SLOT.from_client
    assert layout.SIDE.unpack_from(octets, layout.SERVER) == SLOT.from_server
    assert octets[layout.SERVER + layout.LAST] == 8


def test_an_mtu_beyond_what_fits_is_the_greatest_that_does() -> None:
    slot = layout.read_slot(written(SLOT._replace(mtu4=65536, mtu6=1 << 20)), 0)
    assert (slot.mtu4, slot.mtu6) == (65535, 65535)


def test_the_clients_syn_is_the_first_packet_of_a_slot() -> None:
    slot = layout.read_slot(written(SLOT._replace(from_client=Side())), 0)
    assert slot.from_client.last == SLOT.started


def test_both_keys_are_read_from_the_memory_alone() -> None:
    assert layout.read_keys(written(SLOT), 0) == (SLOT.key6, SLOT.key4)


def test_keys_are_in_the_order_of_the_packets() -> None:
    assert SLOT.key6 == SLOT.client + SLOT.mapped + b"\x9c\x40\x00\x50"
    assert SLOT.key4 == SLOT.server + SLOT.source + b"\x00\x50\x04\x00"
    assert (len(SLOT.key6), len(SLOT.key4)) == (layout.KEY6, layout.KEY4)


@pytest.mark.parametrize("packet", [b"", b"\x45packet"])
def test_an_event_has_its_packet_without_what_lies_behind(packet: bytes) -> None:
    record = struct.pack("=6I", layout.TOO_BIG4, 5, 9, 77, 1280, len(packet)) + packet + b"old"
    expected = Event(layout.TOO_BIG4, 5, 9, 77, 1280, packet)
    assert layout.read_event(record) == expected


def test_ports_have_no_byte_order_in_python() -> None:
    slot = layout.read_slot(written(SLOT._replace(server_port=socket.ntohs(1))), 0)
    assert slot.server_port == socket.ntohs(1)
