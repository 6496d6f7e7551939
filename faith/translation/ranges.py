"""Sets of addresses as ``(first, last)`` ranges, ascending and disjoint."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Network = tuple[int, int]
    """An address and a length."""
    Range = tuple[int, int]


def ranges(networks: Iterable[Network], bits: int) -> list[Range]:
    """Return the fewest ranges with the addresses of *networks*, which are *bits* wide."""
    return together((first, first | (1 << (bits - length)) - 1) for first, length in networks)


def together(*several: Iterable[Range]) -> list[Range]:
    """Return the fewest ranges with all addresses of *several* iterables of ranges."""
    found: list[Range] = []
    for first, last in sorted(one for some in several for one in some):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found


def without(some: Iterable[Range], holes: Iterable[Range]) -> list[Range]:
    """Return the ranges *some* without the addresses of *holes*; both as `ranges` returns them."""
    left: list[Range] = []
    waiting = list(holes)[::-1]
    for first, last in some:
        while waiting and waiting[-1][1] < first:
            waiting.pop()
        start = first
        for hole in reversed(waiting):
            if hole[0] > last:
                break
            if hole[0] > start:
                left.append((start, hole[0] - 1))
            start = hole[1] + 1
        if start <= last:
            left.append((start, last))
    return left
