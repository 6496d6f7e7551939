"""Sets of networks; the cost of a look-up grows with the prefix lengths in use, not the
networks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""


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

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield each ``(network, length)``, the longest first."""
        for length, table in self._tables:
            for start in sorted(table):
                yield start << (self._bits - length), length

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


def joined(networks: Iterable[Network]) -> list[Network]:
    """Return the fewest IPv4 networks with the same addresses, ascending."""
    found: list[Network] = []
    for network in sorted(set(networks)):
        if not (found and _overlap(found[-1], network)):
            found.append(network)
            _merge(found, len(found) - 1)
    return found


def join(networks: list[Network], network: Network) -> None:
    """Add the addresses of *network* to IPv4 *networks*, which are as `joined` returns them."""
    from bisect import bisect  # not above: inetd mode has no maps

    at = bisect(networks, network)
    if at and _overlap(networks[at - 1], network):
        return
    end = at
    while end < len(networks) and _overlap(networks[end], network):
        end += 1
    networks[at:end] = [network]
    _merge(networks, at)


def _merge(networks: list[Network], at: int) -> None:
    """Merge the network at the place *at* with its neighbours, as long as they are halves."""
    while True:
        if at and _halves(*networks[at - 1 : at + 1]):
            at -= 1
        elif not _halves(*networks[at : at + 2]):
            return
        networks[at : at + 2] = [(networks[at][0], networks[at][1] - 1)]


def _halves(one: Network, other: Network | None = None) -> bool:
    """Return whether two ascending networks are the halves of one network."""
    return other is not None and one[1] == other[1] and one[0] ^ other[0] == 1 << 32 - one[1]


def contains(one: Network, other: Network) -> bool:
    """Return whether the IPv4 network *one* has all addresses of *other*."""
    return one[1] <= other[1] and _overlap(one, other)


def _overlap(one: Network, other: Network) -> bool:
    shift = 32 - min(one[1], other[1])
    return one[0] >> shift == other[0] >> shift
