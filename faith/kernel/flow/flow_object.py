"""The compiled program of flows: instructions from an ELF object file.

Only what clang writes for BPF is understood: a section of instructions for each program, and
relocations (R_BPF_64_64) that name the map whose descriptor an instruction loads.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SYMBOLS, _RELOCATIONS = 2, 9  # SHT_SYMTAB, SHT_REL
_MACHINE = 247  # EM_BPF
_FD = 1  # BPF_PSEUDO_MAP_FD: the immediate value is a descriptor
_LOAD = 0x18  # BPF_LD | BPF_DW | BPF_IMM


class _Section(NamedTuple):
    name: int
    kind: int
    start: int
    size: int
    link: int
    info: int


class FlowObject:
    """The object file *octets* in the byte order of the machine *order*, ``little`` or ``big``.

    Raises ValueError for a file that is none.
    """

    def __init__(self, octets: bytes, order: str = sys.byteorder) -> None:
        self._octets = octets
        self._order = "<" if order == "little" else ">"
        data = 1 if order == "little" else 2
        if octets[:6] != b"\x7fELF\x02" + bytes([data]) or self._read("H", 18) != (_MACHINE,):
            raise ValueError(f"no ELF object of BPF for a {order}-endian machine")
        (start,) = self._read("Q", 40)
        size, count, names = self._read("HHH", 58)
        # name, type, flags, address, offset, size, link, info
        headers = [self._read("IIQQQQII", start + size * number) for number in range(count)]
        self._sections = [_Section(*h[:2], *h[4:]) for h in headers]
        self._names = self._sections[names].start

    @classmethod
    def read(cls, directory: Path) -> FlowObject:
        """Read the object in *directory* for this machine.  Raises OSError."""
        order = "bpfel" if sys.byteorder == "little" else "bpfeb"
        return cls((directory / f"flow.{order}.o").read_bytes())

    def instructions(self, program: str, maps: dict[str, int]) -> bytes:
        """Return the instructions of the section *program* that use the descriptors of *maps*.

        Raises KeyError for a program or a map that is not there.
        """
        sections = {self._text(self._names + each.name): each for each in self._sections}
        section = sections[program]
        code = bytearray(self._octets[section.start : section.start + section.size])
        for at, name in self._relocations(self._sections.index(section)):
            if code[at] != _LOAD:
                raise ValueError(f"relocation of {name} in {program}: not a map")
            # the registers are half an octet each, in the order of the machine
            little = self._order == "<"
            code[at + 1] = code[at + 1] & 0x0F | _FD << 4 if little else code[at + 1] & 0xF0 | _FD
            struct.pack_into(f"{self._order}i", code, at + 4, maps[name])
        return bytes(code)

    def _relocations(self, number: int) -> Iterator[tuple[int, str]]:
        """Yield offset and symbol of each relocated instruction of the section *number*."""
        symbols = next(each for each in self._sections if each.kind == _SYMBOLS)
        texts = self._sections[symbols.link].start
        for section in self._sections:
            if section.kind == _RELOCATIONS and section.info == number:
                for at in range(section.start, section.start + section.size, 16):
                    offset, info = self._read("QQ", at)
                    (name,) = self._read("I", symbols.start + (info >> 32) * 24)
                    yield offset, self._text(texts + name)

    def _read(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + form, self._octets, at)

    def _text(self, at: int) -> str:
        return self._octets[at : self._octets.index(0, at)].decode()
