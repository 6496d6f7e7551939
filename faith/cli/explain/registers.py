"""The registers of nftables, in which a value may be unknown."""

from __future__ import annotations

_WORD = 4
_DATA = 4
"""The first register of 16 octets has the number 1; those of 4 octets begin with 8."""
_FIRST_OF_32_BITS = 8


class Registers:
    """The values that the expressions of one rule have loaded, by register numbers of netlink."""

    def __init__(self) -> None:
        self._words: dict[int, bytes] = {}

    def load(self, register: int, value: bytes | None, length: int = 16) -> None:
        """Load *value*, or *length* octets that are unknown."""
        start = _place(register)
        octets = length if value is None else len(value)
        for at in range(0, max(octets, 1), _WORD):
            if value is None:
                self._words.pop(start + at // _WORD, None)
            else:
                self._words[start + at // _WORD] = value[at : at + _WORD]

    def read(self, register: int, length: int) -> bytes | None:
        """Return *length* octets, None if one of them is unknown."""
        start, found = _place(register), b""
        for at in range(0, length, _WORD):
            word = self._words.get(start + at // _WORD)
            if word is None:
                return None
            found += word if at + _WORD >= length else word.ljust(_WORD, b"\0")
        return found[:length].ljust(length, b"\0")


def _place(register: int) -> int:
    if register >= _FIRST_OF_32_BITS:
        return register - _FIRST_OF_32_BITS
    return (register - 1) * _DATA
