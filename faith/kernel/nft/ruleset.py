"""nftables tables as values, and their text in nft's language."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.translation.ranges import ranges as ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

    Range = tuple[int, int]
    """The first and the last value of an interval."""


@dataclass(frozen=True)
class ElementType:
    """The type of a set's elements: nft's name and number for it, and its width in octets."""

    name: str
    number: int
    octets: int

    @property
    def top(self) -> int:
        """The greatest value."""
        return (1 << 8 * self.octets) - 1


IP, IP6 = "ip", "ip6"
"""Families of tables, by nft's names."""

ADDRESS = ElementType("ipv6_addr", 8, 16)
ADDRESS4 = ElementType("ipv4_addr", 7, 4)
PORT = ElementType("inet_service", 13, 2)
USER = ElementType("uid", 24, 4)
TWO_ADDRESSES = ElementType("ipv6_addr . ipv6_addr", 8 << 6 | 8, 32)


@dataclass(frozen=True)
class Set:
    """A named set of intervals that do not overlap."""

    name: str
    kind: ElementType
    ranges: tuple[Range, ...] = ()

    @classmethod
    def of_prefixes(cls, name: str, prefixes: Iterable[Prefix]) -> Set:
        """Return a set of addresses; a prefix inside another one is left out."""
        ranges: list[Range] = []
        for prefix in sorted(prefixes, key=lambda p: (p.address, p.length)):
            last = prefix.address | (1 << (128 - prefix.length)) - 1
            if not ranges or last > ranges[-1][1]:
                ranges.append((prefix.address, last))
        return cls(name, ADDRESS, tuple(ranges))

    @classmethod
    def of_ports(cls, name: str, ports: Ports) -> Set:
        """Return a set of ports."""
        return cls(name, PORT, ports.ranges)

    @classmethod
    def of_users(cls, name: str, users: Iterable[int]) -> Set:
        """Return a set of user numbers."""
        return cls(name, USER, tuple(ranges_of(((user, 32) for user in users), 32)))

    def of(self, ranges: Iterable[Range]) -> Set:
        """Return the same set with other ranges."""
        return Set(self.name, self.kind, tuple(ranges))

    def text(self) -> str:
        """Return the set as nft lists it."""
        lines = [f"\tset {self.name} {{", f"\t\ttype {self.kind.name}", "\t\tflags interval"]
        if self.ranges:
            lines.append(f"\t\telements = {{ {', '.join(self._elements())} }}")
        return "\n".join([*lines, "\t}"])

    def _elements(self) -> Iterator[str]:
        for first, last in self.ranges:
            if self.kind in (PORT, USER):
                yield str(first) if first == last else f"{first}-{last}"
            else:
                yield from map(str, networks_of(self.kind, first, last))


def networks_of(
    kind: ElementType, first: int, last: int
) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks that make up a range of addresses."""
    if kind == ADDRESS4:
        four = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
        yield from ipaddress.summarize_address_range(*four)
    else:
        six = ipaddress.IPv6Address(first), ipaddress.IPv6Address(last)
        yield from ipaddress.summarize_address_range(*six)


@dataclass(frozen=True)
class Map:
    """A named map of keys to values, empty when its table is made."""

    name: str
    keys: ElementType
    values: ElementType

    def text(self) -> str:
        """Return the map as nft lists it."""
        return f"\tmap {self.name} {{\n\t\ttype {self.keys.name} : {self.values.name}\n\t}}"


@dataclass(frozen=True)
class Rule:
    """A rule as text for nft, and the same in `faith.kernel.nft.expressions`."""

    text: str
    expressions: bytes


@dataclass(frozen=True)
class Hook:
    """The attachment point of a base chain: *kind* is filter or nat, *name* the hook."""

    kind: str
    name: str
    priority: int


@dataclass(frozen=True)
class Chain:
    """An ordered list of rules; a packet that matches none of them is accepted."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None

    def text(self) -> str:
        """Return the chain as text for nft."""
        lines = [rule.text for rule in self.rules]
        if hook := self.hook:
            lines.insert(
                0,
                f"type {hook.kind} hook {hook.name} priority {hook.priority}; policy accept;",
            )
        return "\n".join([f"\tchain {self.name} {{", *(f"\t\t{line}" for line in lines), "\t}"])


@dataclass(frozen=True)
class Table:
    """A table with its sets, maps and chains."""

    name: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    maps: tuple[Map, ...] = ()
    family: str = IP6

    @property
    def containers(self) -> tuple[Set | Map, ...]:
        """The sets and maps of the table."""
        return (*self.sets, *self.maps)

    def text(self) -> str:
        """Return a script for ``nft -f -`` that makes the table, replacing one of the same name."""
        parts = [s.text() for s in self.containers] + [chain.text() for chain in self.chains]
        name = f"table {self.family} {self.name}"
        return "\n".join([name, f"delete {name}", f"{name} {{", "\n\n".join(parts), "}", ""])
