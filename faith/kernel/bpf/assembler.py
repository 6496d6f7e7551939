"""An assembler for small BPF programs (RFC 9669), with labels for the jumps."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

R0, R1, R2, R3 = range(4)
"""The result of a call, and its arguments: a call clobbers all of them."""
R6, R7 = 6, 7
"""Preserved across calls."""
STACK = 10
"""The end of the stack frame, 512 bytes that grow downwards."""

_WIDE = 0x18  # the one instruction of two slots (RFC 9669 §5.4)
_MAP = 1  # as its source: the immediate is a map's descriptor


class Instruction(NamedTuple):
    """One instruction; *target* is the label that a jump goes to."""

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    immediate: int = 0
    target: str = ""

    @property
    def slots(self) -> int:
        """The number of 8-byte slots the instruction takes."""
        return 2 if self.opcode == _WIDE else 1


class Label(NamedTuple):
    """A named position: that of the next instruction."""

    name: str
    slots: int = 0


def copy(dst: int, src: int) -> Instruction:
    """dst = src"""
    return Instruction(0xBF, dst, src)


def put(dst: int, value: int) -> Instruction:
    """dst = value"""
    return Instruction(0xB7, dst, immediate=value)


def add(dst: int, src: int) -> Instruction:
    """dst += src"""
    return Instruction(0x0F, dst, src)


def add_value(dst: int, value: int) -> Instruction:
    """dst += value"""
    return Instruction(0x07, dst, immediate=value)


def mask(dst: int, value: int) -> Instruction:
    """dst &= value"""
    return Instruction(0x57, dst, immediate=value)


def shift_right(dst: int, src: int) -> Instruction:
    """dst >>= src, unsigned"""
    return Instruction(0x7F, dst, src)


def shift_right_by(dst: int, bits: int) -> Instruction:
    """dst >>= bits, unsigned"""
    return Instruction(0x77, dst, immediate=bits)


def load8(dst: int, src: int, offset: int) -> Instruction:
    """dst = the octet at src + offset"""
    return Instruction(0x71, dst, src, offset)


def load32(dst: int, src: int, offset: int) -> Instruction:
    """dst = the 32 bits at src + offset, in host order"""
    return Instruction(0x61, dst, src, offset)


def store32(dst: int, offset: int, src: int) -> Instruction:
    """the 32 bits at dst + offset = src"""
    return Instruction(0x63, dst, src, offset)


def store32_value(dst: int, offset: int, value: int) -> Instruction:
    """the 32 bits at dst + offset = value"""
    return Instruction(0x62, dst, offset=offset, immediate=value)


def load_map(dst: int, fd: int) -> Instruction:
    """dst = the map that *fd* is open on"""
    return Instruction(_WIDE, dst, _MAP, immediate=fd)


def jump_if(dst: int, value: int, target: str) -> Instruction:
    """if dst == value: go to *target*"""
    return Instruction(0x15, dst, immediate=value, target=target)


def jump_unless(dst: int, value: int, target: str) -> Instruction:
    """if dst != value: go to *target*"""
    return Instruction(0x55, dst, immediate=value, target=target)


def call(helper: int) -> Instruction:
    """R0 = helper(R1, R2, R3, R4, R5)"""
    return Instruction(0x85, immediate=helper)


def leave() -> Instruction:
    """return R0"""
    return Instruction(0x95)


def assemble(program: Iterable[Instruction | Label], byteorder: str = sys.byteorder) -> bytes:
    """Return the code of *program* for the kernel of a host of *byteorder*.

    Raises KeyError for a jump to a label that does not exist.
    """
    items = list(program)
    places = {}
    place = 0
    for item in items:
        if isinstance(item, Label):
            places[item.name] = place
        place += item.slots
    code = bytearray()
    for item in items:
        if isinstance(item, Instruction):
            after = len(code) // 8 + item.slots
            offset = places[item.target] - after if item.target else item.offset
            code += _encode(item, offset, byteorder)
    return bytes(code)


def _encode(instruction: Instruction, offset: int, byteorder: str) -> bytes:
    opcode, dst, src, _, immediate, _ = instruction
    # The registers are two bit fields of C, so their order is the host's (RFC 9669 §3.1).
    registers, order = (src << 4 | dst, "<") if byteorder == "little" else (dst << 4 | src, ">")
    first = struct.pack(f"{order}BBhi", opcode, registers, offset, immediate)
    return first.ljust(instruction.slots * 8, b"\0")
