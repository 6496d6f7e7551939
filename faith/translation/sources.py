"""Source pools: the IPv4 address that a client's connections are made from.

A client has the same address at every time and for every protocol ("paired", RFC 4787 REQ-2 and RFC
6888 REQ-2).  It is computed from the client's own address alone, so all processes agree on it and
none has to remember it.
"""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.address import text6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Interface
    from typing import Any

    from faith.translation.networks import Networks

    Client = tuple[int, int]
    """A network of clients: ``(network, length)``, 128 bits wide."""

_GOLDEN = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""2^128 divided by the golden ratio, a multiplier without a pattern."""
_ALL = (1 << 128) - 1
_TRIES = 16
"""Addresses that are tried for a client whose own is absent, before all are looked through."""
_NEVER = ((0, 8), (0x7F000000, 8), (0xE0000000, 3))
"""Networks that no connection to another host comes from: 0/8, 127/8, multicast and above."""


class Addresses:
    """A sequence of IPv4 addresses, given as ``(first, last)`` *ranges* in their order.

    Length and indexing cost the same however many addresses there are.
    """

    __slots__ = ("_length", "_starts", "ranges")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self.ranges = tuple(ranges)
        self._starts: list[int] = []
        self._length = 0
        for first, last in self.ranges:
            self._starts.append(self._length)
            self._length += last - first + 1

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Addresses:
        """Parse addresses, networks (every address of them counts) and ``first-last`` ranges.

        Raises ConfigError, whose *line* is the number of the element, from 1.
        """
        ranges: list[tuple[int, int]] = []
        for number, text in enumerate(texts, 1):
            try:
                ranges.append(_range(text))
            except ConfigError as error:
                raise ConfigError(error.message, line=number) from None
        again = _overlapping(ranges)
        if again is not None:
            raise ConfigError(f"{texts[again]}: it repeats an address of the list", line=again + 1)
        return cls(ranges)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        if len(self._starts) == 1:
            return self.ranges[0][0] + index
        from bisect import bisect  # not above: inetd mode has no pools

        at = bisect(self._starts, index) - 1
        return self.ranges[at][0] + index - self._starts[at]


class Source:
    """The source addresses of some clients.

    *clients* are networks.  The first *client_length* bits of an address identify a client.  With
    *one_to_one* the n-th client has the n-th of the *addresses*; otherwise clients share them by a
    hash.  With *set_up* the gateway adds the addresses itself, otherwise it must have them.  Raises
    ConfigError.
    """

    __slots__ = ("_shift", "addresses", "clients", "one_to_one", "set_up", "values")

    def __init__(
        self,
        clients: Iterable[Client],
        addresses: Addresses,
        client_length: int = 128,
        one_to_one: bool = False,
        set_up: bool = False,
    ) -> None:
        self.clients = tuple(clients)
        self.addresses = addresses
        self.one_to_one = one_to_one
        self.set_up = set_up
        self._shift = 128 - client_length
        self.values = (self.clients, addresses.ranges, client_length, one_to_one, set_up)
        """The arguments of an equal source."""
        if not addresses:
            raise ConfigError("addresses is empty: name at least one address to connect from")
        for network, length in self.clients:
            if length > client_length:
                raise ConfigError(
                    f"{text6(network)}/{length} is less than a client, which has"
                    f" {client_length} bits; client_length is {length} at least"
                )
        if one_to_one:
            self._check_room(client_length)

    def _check_room(self, client_length: int) -> None:
        clients = sum(1 << (client_length - length) for _, length in self.clients)
        if clients > len(self.addresses):
            counted = clients if clients <= 1 << 32 else f"2^{clients.bit_length() - 1}"
            raise ConfigError(
                f"{counted} clients of {client_length} bits cannot have an address each of"
                f" {len(self.addresses)}; a shorter client_length makes them fewer"
            )

    def bases(self) -> list[tuple[Client, int]]:
        """Return each network of clients with its *base* for :meth:`pick`."""
        found, before = [], 0
        for network, length in self.clients:
            found.append(((network, length), (network >> self._shift) - before))
            before += 1 << (128 - self._shift - length)
        return found

    def pick(self, client: int, base: int, own: Networks | None = None) -> int:
        """Return the IPv4 address of *client*, which is in the network with this *base*.

        Where *own* are the networks that the gateway has addresses in, a shared address that is in
        none of them is skipped: its clients get others, and those of other addresses keep theirs.
        Without any left, and with `one_to_one`, the address is one that nothing can come from.
        """
        client >>= self._shift
        if self.one_to_one:
            return self.addresses[client - base]
        address = self._shared(client)
        if own is None or self.set_up or address in own:
            return address
        for _ in range(_TRIES):
            client = _mixed(client)
            other = self._shared(client)
            if other in own:
                return other
        return next((own_one for own_one in self._present(own)), address)

    def _shared(self, client: int) -> int:
        return self.addresses[_mixed(client) * len(self.addresses) >> 128]

    def _present(self, own: Networks) -> Iterator[int]:
        return (
            address
            for first, last in self.addresses.ranges
            for address in range(first, last + 1)
            if address in own
        )

    def absent(self, own: Networks) -> Iterator[int]:
        """Yield the first address of each range that is in none of the networks *own*.

        None is of a source that is `set_up`.
        """
        for first, last in () if self.set_up else self.addresses.ranges:
            missing = own.first_outside(first, last)
            if missing is not None:
                yield missing


class Sources:
    """An immutable set of sources; the cost of a look-up grows with the *lengths* in use only.

    The longest network of clients decides.  No network is in two sources.  *own* are the networks
    that the gateway has addresses in; None takes all addresses as present.
    """

    __slots__ = ("_own", "_tables", "sources")

    def __init__(self, sources: Iterable[Source] = (), own: Networks | None = None) -> None:
        self.sources = tuple(sources)
        self._own = own
        tables: dict[int, dict[int, tuple[Source, int]]] = {}
        for source in self.sources:
            for (network, length), base in source.bases():
                tables.setdefault(length, {})[network >> (128 - length)] = source, base
        self._tables = tuple((128 - length, tables[length]) for length in sorted(tables)[::-1])

    def find(self, client: int) -> int | None:
        """Return the 32-bit source address of a 128-bit *client*, or None for the
        kernel's choice."""
        for shift, table in self._tables:
            found = table.get(client >> shift)
            if found is not None:
                source, base = found
                return source.pick(client, base, self._own)
        return None

    def on(self, own: Networks) -> Sources:
        """Return these sources on a gateway with addresses in the networks *own*."""
        return Sources(self.sources, own) if self.sources else self

    def absent(self, own: Networks) -> list[int]:
        """Return addresses that the gateway does not have, the first of each range."""
        return [one for source in self.sources for one in source.absent(own)]

    def without_set_up(self) -> Sources:
        """Return the sources whose addresses the gateway does not add itself."""
        return Sources((one for one in self.sources if not one.set_up), self._own)

    def to_set_up(self) -> list[tuple[int, int]]:
        """Return the ``(first, last)`` ranges of addresses that the gateway has to add."""
        return [one for source in self.sources if source.set_up for one in source.addresses.ranges]

    def __bool__(self) -> bool:
        return bool(self.sources)

    def values(self) -> list[Any]:
        """Return the sources as plain values, fit for JSON; `of` makes them again."""
        return [source.values for source in self.sources]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Sources:
        """Make the sources that gave these :meth:`values`."""
        return cls(
            Source(
                ((network, length) for network, length in clients),
                Addresses((first, last) for first, last in ranges),
                *rest,
            )
            for clients, ranges, *rest in values
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sources) and self.values() == other.values()

    def __hash__(self) -> int:
        return hash(tuple(self.values()))


NO_SOURCES = Sources()


def _mixed(client: int) -> int:
    """Return a 128-bit hash: inputs that differ in one bit differ in about half of the
    output bits."""
    once = client * _GOLDEN & _ALL
    return (once ^ once >> 64) * _GOLDEN & _ALL


def client_network(text: str) -> Client:
    """Parse a network of clients, or one address.  Raises ConfigError."""
    from ipaddress import IPv6Interface

    try:
        found = IPv6Interface(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not an IPv6 address or network") from None
    if found.ip != found.network.network_address:
        raise ConfigError(f"{text}: host bits are set; did you mean {found.network}?")
    return int(found.ip), found.network.prefixlen


def _overlapping(ranges: list[tuple[int, int]]) -> int | None:
    """Return the index of a range that shares an address with an earlier one, or None."""
    from itertools import pairwise

    in_order = sorted((*one, place) for place, one in enumerate(ranges))
    for (_, last, one), (first, _, other) in pairwise(in_order):
        if first <= last:
            return max(one, other)
    return None


def _range(text: str) -> tuple[int, int]:
    from ipaddress import IPv4Address, IPv4Interface

    first, dash, last = text.partition("-")
    try:
        if dash:
            found = int(IPv4Address(first.strip())), int(IPv4Address(last.strip()))
        elif "/" not in text:
            found = int(IPv4Address(text)), int(IPv4Address(text))
        else:
            found = _network_range(IPv4Interface(text))
    except ValueError:
        raise ConfigError(
            f"{text!r} is not an IPv4 address, a network or a range"
            " (such as 198.51.100.7, 198.51.100.8/29 or 198.51.100.20-198.51.100.29)"
        ) from None
    if found[0] > found[1]:
        raise ConfigError(f"range {text} runs backwards; write {last.strip()}-{first.strip()}")
    for never, length in _NEVER:
        if found[0] < never + (1 << (32 - length)) and found[1] >= never:
            raise ConfigError(
                f"{text}: these addresses cannot be the source of a connection to another host"
            )
    return found


def _network_range(found: IPv4Interface) -> tuple[int, int]:
    if found.ip != found.network.network_address:
        raise ConfigError(f"{found}: host bits are set; did you mean {found.network}?")
    return int(found.ip), int(found.network.broadcast_address)
