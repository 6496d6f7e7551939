from __future__ import annotations

import struct
from pathlib import Path

import pytest

import faith.kernel.flow
from faith.kernel.flow import layout
from faith.kernel.flow.flow_object import FlowObject
from faith.kernel.flow.map_kinds import kinds

ROOM = Path(faith.kernel.flow.__file__).parent
MAPS = {name: 100 + number for number, name in enumerate(kinds(1))}
ORDERS = {"little": "bpfel", "big": "bpfeb"}
PROGRAMS = ["ethernet", "layer3"]


def octets(order: str) -> bytes:
    return (ROOM / f"flow.{ORDERS[order]}.o").read_bytes()


def decoded(code: bytes, order: str) -> list[tuple[int, int, int, int, int]]:
    """Operation, target and source register, offset and value of each instruction."""
    form = struct.Struct(("<" if order == "little" else ">") + "BBhi")
    found = []
    for operation, registers, offset, value in form.iter_unpack(code):
        low, high = registers & 15, registers >> 4
        to, source = (low, high) if order == "little" else (high, low)
        found.append((operation, to, source, offset, value))
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_map_is_put_where_it_is_loaded(order: str, program: str) -> None:
    instructions = decoded(FlowObject(octets(order), order).instructions(program, MAPS), order)
    loads = [each for each in instructions if each[0] == 0x18 and each[2]]
    assert {source for _, _, source, _, _ in loads} == {1}
    assert {value for *_, value in loads} == set(MAPS.values())
    assert instructions[-1][0] in (0x95, 0x05)  # exit, or a jump back to one
    assert all(to <= 10 and source <= 10 for _, to, source, _, _ in instructions)


@pytest.mark.parametrize("order", ORDERS)
def test_the_state_of_a_flow_changes_by_atomic_operations_only(order: str) -> None:
    """Packets of both directions change it at once, on two CPUs."""
    store, store_value, atomic, stack = 0x63, 0x62, 0xC3, 10
    instructions = decoded(FlowObject(octets(order), order).instructions("ethernet", MAPS), order)
    there = {
        operation
        for operation, to, _, offset, _ in instructions
        if offset == layout.STATE and to != stack
    }
    assert atomic in there
    assert not there & {store, store_value}


@pytest.mark.parametrize("program", PROGRAMS)
def test_both_orders_have_the_same_program_but_for_its_constants(program: str) -> None:
    """A big-endian machine is not at hand: what can be compared is."""
    little, big = (
        decoded(FlowObject(octets(order), order).instructions(program, MAPS), order)
        for order in ORDERS
    )
    calls = [
        [value for operation, _, _, _, value in each if operation == 0x85] for each in (little, big)
    ]
    assert sorted(calls[0]) == sorted(calls[1])
    assert abs(len(little) - len(big)) < len(little) // 20


def test_a_program_or_a_map_that_is_not_there_is_named() -> None:
    program = FlowObject(octets("little"), "little")
    with pytest.raises(KeyError, match="layer2"):
        program.instructions("layer2", MAPS)
    with pytest.raises(KeyError, match="slots"):
        program.instructions("layer3", {name: fd for name, fd in MAPS.items() if name != "slots"})


@pytest.mark.parametrize("octets", [b"", b"\x7fELF\x02\x02" + bytes(58), b"#!/bin/sh" + bytes(60)])
def test_another_file_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="no ELF object of BPF for a little-endian machine"):
        FlowObject(octets, "little")


def test_the_object_of_this_machine_is_read() -> None:
    assert FlowObject.read(ROOM).instructions("ethernet", MAPS)
