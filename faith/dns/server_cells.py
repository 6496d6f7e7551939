"""The servers that a process asks for names, and their errors, as text in shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import STATE, Family, Layout
from faith.translation.typography import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faith.kernel.shared.families import Cells

SERVERS = 8
"""Servers that are reported of a process; there may be more of them."""
LONGEST = 224
"""Octets of a server's address and its error together."""

_OCTETS = 7  # of a cell, whose numbers are below 2^62
_WORDS = LONGEST // _OCTETS
_SEPARATOR = "\n"
_READINGS = 8
"""How often cells are read that are written meanwhile, which takes less time than a reading."""

SLOTS = Family(
    "servers",
    "A write count, odd during a write, and the text of each server.",
    STATE,
    label="word",
    values=tuple(map(str, range(1 + SERVERS * _WORDS))),
)
LAYOUT = Layout(SLOTS)
"""The cells of one process; they are no metrics, and never summed."""


class ServerCells:
    """Writes servers into *cells* of `LAYOUT`, which the caller may share."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = [0] * LAYOUT.size if cells is None else cells
        self._written: list[tuple[str, str]] | None = None

    def write(self, servers: Iterable[tuple[str, str]]) -> None:
        """Write the first `SERVERS` of *servers*: address and error, "" for a healthy one."""
        wanted = [*servers][:SERVERS]
        if wanted == self._written:
            return
        self._written = wanted
        cells = self._cells
        cells[0] |= 1
        for slot in range(SERVERS):
            text = _SEPARATOR.join(wanted[slot]) if slot < len(wanted) else ""
            for word, number in enumerate(_numbers(text), 1 + slot * _WORDS):
                cells[word] = number
        cells[0] = (cells[0] + 1) % (1 << 32)


def read(cells: Sequence[int]) -> list[tuple[str, str]]:
    """Return the servers in *cells*, each with its error, or nothing if a write never ends.

    The text is another process's: what is not printable becomes a question mark.
    """
    for _ in range(_READINGS):
        before = cells[0]
        texts = [_text(cells[1 + n * _WORDS : 1 + (n + 1) * _WORDS]) for n in range(SERVERS)]
        if not before % 2 and cells[0] == before:
            break
    else:
        return []
    parts = (text.partition(_SEPARATOR) for text in texts if text)
    return [(printable(server), printable(error)) for server, _, error in parts]


def _numbers(text: str) -> Iterable[int]:
    octets = text.encode()[:LONGEST].ljust(LONGEST, b"\0")
    return (int.from_bytes(octets[at : at + _OCTETS], "big") for at in range(0, LONGEST, _OCTETS))


def _text(cells: Sequence[int]) -> str:
    octets = b"".join((cell % (1 << 8 * _OCTETS)).to_bytes(_OCTETS, "big") for cell in cells)
    return octets.rstrip(b"\0").decode(errors="ignore")
