"""Source pools: which IPv4 address a client's connections are made from.

A client has the same address at every time and for every protocol ("paired", RFC 4787 REQ-2 and
RFC 6888 REQ-2).  It follows from the client's own address alone, so that all processes agree on it
and none has to remember.
"""

from __future__ import annotations

from faith.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Interface
    from typing import Any

    Client = tuple[int, int]
    """A network of clients: ``(network, length)``, 128 bits wide."""

_GOLDEN = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""2^128 by the golden ratio, a number without any pattern."""
_ALL = (1 << 128) - 1
_NEVER = ((0, 8), (0x7F000000, 8), (0xE0000000, 3))
"""No connection to elsewhere comes from these: 0/8, 127/8, multicast and above."""


class Addresses:
    """IPv4 addresses in an order of their own, given as ``(first, last)`` *ranges*.

    They have a length and can be indexed, at a cost that does not grow with either.
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
        """Read addresses, networks, of which every address counts, and ranges (first-last).

        Raises ConfigError, whose *line* is the element, from 1.
        """
        ranges: list[tuple[int, int]] = []
        for number, text in enumerate(texts, 1):
            try:
                ranges.append(_range(text))
            except ConfigError as error:
                raise ConfigError(error.message, line=number) from None
        again = _overlapping(ranges)
        if again is not None:
            raise ConfigError(f"{texts[again]}: an address in it is there twice", line=again + 1)
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
    """Where the connections of some clients come from.

    *clients* are networks.  The first *client_length* bits of an address are what makes a client.
    Without *one_to_one* the clients share the *addresses*, else the n-th of them has the n-th.  The
    gateway has to have them, or else to *set* them *up*.  Raises ConfigError.
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
        """What another one like it is made of."""
        if not addresses:
            raise ConfigError("there is no address to connect from")
        for network, length in self.clients:
            if length > client_length:
                raise ConfigError(
                    f"{_text6(network, length)} is less than a client, which has"
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
        """Each network of clients, with what :meth:`pick` is told of it."""
        found, before = [], 0
        for network, length in self.clients:
            found.append(((network, length), (network >> self._shift) - before))
            before += 1 << (128 - self._shift - length)
        return found

    def pick(self, client: int, base: int) -> int:
        """The IPv4 address of *client*, which is in the network that *base* is of."""
        client >>= self._shift
        if self.one_to_one:
            return self.addresses[client - base]
        return self.addresses[_mixed(client) * len(self.addresses) >> 128]


class Sources:
    """An immutable set of sources, asked with a cost that grows with the *lengths* in use only.

    The longest network of clients decides.  No network is in two sources.
    """

    __slots__ = ("_tables", "sources")

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self.sources = tuple(sources)
        tables: dict[int, dict[int, tuple[Source, int]]] = {}
        for source in self.sources:
            for (network, length), base in source.bases():
                tables.setdefault(length, {})[network >> (128 - length)] = source, base
        self._tables = tuple((128 - length, tables[length]) for length in sorted(tables)[::-1])

    def find(self, client: int) -> int | None:
        """The 32-bit address that a 128-bit *client* has, or None: the kernel's choice."""
        for shift, table in self._tables:
            found = table.get(client >> shift)
            if found is not None:
                source, base = found
                return source.pick(client, base)
        return None

    def to_set_up(self) -> list[tuple[int, int]]:
        """The ranges of addresses, first and last, that the gateway is to have for them."""
        return [one for source in self.sources if source.set_up for one in source.addresses.ranges]

    def __bool__(self) -> bool:
        return bool(self.sources)

    def values(self) -> list[Any]:
        """Them as plain values, fit for JSON, for :meth:`of` in another process."""
        return [source.values for source in self.sources]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Sources:
        """What gave these :meth:`values`."""
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
    """128 bits that differ in every place, as chance has it, between clients that differ in one."""
    once = client * _GOLDEN & _ALL
    return (once ^ once >> 64) * _GOLDEN & _ALL


def client_network(text: str) -> Client:
    """Read a network of clients, or one address.  Raises ConfigError."""
    from ipaddress import IPv6Interface

    try:
        found = IPv6Interface(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not an IPv6 address or network") from None
    if found.ip != found.network.network_address:
        raise ConfigError(f"{text}: host bits are set; did you mean {found.network}?")
    return int(found.ip), found.network.prefixlen


def _overlapping(ranges: list[tuple[int, int]]) -> int | None:
    """The place of one that has an address of another in it."""
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
            raise ConfigError(f"{text}: no connection to another host can come from there")
    return found


def _network_range(found: IPv4Interface) -> tuple[int, int]:
    if found.ip != found.network.network_address:
        raise ConfigError(f"{found}: host bits are set; did you mean {found.network}?")
    return int(found.ip), int(found.network.broadcast_address)


def _text6(network: int, length: int) -> str:
    from ipaddress import IPv6Network

    return str(IPv6Network((network, length)))
