"""Registers: of 16 octets and of 4, known or not."""

from __future__ import annotations

from faith.cli.explain.registers import Registers


def test_registers_of_both_widths_are_the_same_memory() -> None:
    registers = Registers()
    registers.load(1, bytes(range(16)))
    assert registers.read(1, 16) == bytes(range(16))
    assert registers.read(8, 4) == bytes(range(4))
    assert registers.read(11, 4) == bytes(range(12, 16))
    registers.load(9, b"\xff\xff\xff\xff")
    assert registers.read(1, 16) == b"\0\1\2\3\xff\xff\xff\xff\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"


def test_parts_of_a_concatenation_fill_whole_words() -> None:
    registers = Registers()
    registers.load(8, b"\x00\x50")
    registers.load(9, b"\x06")
    assert registers.read(8, 8) == b"\x00\x50\0\0\x06\0\0\0"
    assert registers.read(8, 2) == b"\x00\x50"


def test_a_value_is_unknown_if_a_part_of_it_is() -> None:
    registers = Registers()
    assert registers.read(1, 4) is None
    registers.load(1, bytes(16))
    registers.load(10, None, 4)
    assert registers.read(1, 8) == bytes(8)
    assert registers.read(1, 16) is None
