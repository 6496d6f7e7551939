"""Sets of networks; the cost of a look-up grows with the prefix lengths in use, not the
networks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Networks:
    """An immutable set of networks of one family, given as ``(network, length)`` integers.

    *bits* is the width of an address: 32 or 128.
    """

    __slots__ = ("_bits", "_tables")

    def __init__(self, bits: int, networks: Iterable[tuple[int, int]] = ()) -> None:
        by_length: dict[int, set[int]] = {}
        for network, length in networks:
            by_length.setdefault(length, set()).add(network >> (bits - length))
        self._bits = bits
        self._tables = tuple((length, by_length[length]) for length in sorted(by_length)[::-1])

    def find(self, address: int) -> tuple[int, int] | None:
        """Return the longest ``(network, length)`` that contains *address*, or None."""
        for length, table in self._tables:
            shift = self._bits - length
            if address >> shift in table:
                return address >> shift << shift, length
        return None

    def first_outside(self, first: int, last: int) -> int | None:
        """Return the first address from *first* to *last* outside all of the networks, or None."""
        while first <= last:
            found = self.find(first)
            if found is None:
                return first
            network, length = found
            first = network + (1 << (self._bits - length))
        return None

    def holding(self, others: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the networks of *others* whose first address is in one of these."""
        return [other for other in others if other[0] in self]

    def __contains__(self, address: int) -> bool:
        return self.find(address) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Networks):
            return NotImplemented
        return (self._bits, self._tables) == (other._bits, other._tables)

    def __hash__(self) -> int:
        return hash((self._bits, *(length for length, _ in self._tables)))
