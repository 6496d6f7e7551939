"""nftables tables as values: what a table is to hold, and how nft writes it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

    Range = tuple[int, int]
    """The first and the last of what an interval holds."""


@dataclass(frozen=True)
class Kind:
    """What a set holds: nft's name and number for it, and its width."""

    name: str
    number: int
    octets: int

    @property
    def top(self) -> int:
        """The greatest value."""
        return (1 << 8 * self.octets) - 1


IP, IP6 = "ip", "ip6"
"""Families of tables, as nft calls them."""

ADDRESS = Kind("ipv6_addr", 8, 16)
ADDRESS4 = Kind("ipv4_addr", 7, 4)
PORT = Kind("inet_service", 13, 2)
TWO_ADDRESSES = Kind("ipv6_addr . ipv6_addr", 8 << 6 | 8, 32)


@dataclass(frozen=True)
class Set:
    """A named set of intervals that do not overlap."""

    name: str
    kind: Kind
    ranges: tuple[Range, ...] = ()

    @classmethod
    def of_prefixes(cls, name: str, prefixes: Iterable[Prefix]) -> Set:
        """A set of addresses; of prefixes that hold each other, the outer one."""
        ranges: list[Range] = []
        for prefix in sorted(prefixes, key=lambda p: (p.address, p.length)):
            last = prefix.address | (1 << (128 - prefix.length)) - 1
            if not ranges or last > ranges[-1][1]:
                ranges.append((prefix.address, last))
        return cls(name, ADDRESS, tuple(ranges))

    @classmethod
    def of_ports(cls, name: str, ports: Ports) -> Set:
        """A set of ports."""
        return cls(name, PORT, ports.ranges)

    def of(self, ranges: Iterable[Range]) -> Set:
        """The same set with other ranges in it."""
        return Set(self.name, self.kind, tuple(ranges))

    def text(self) -> str:
        """The set as nft lists it."""
        lines = [f"\tset {self.name} {{", f"\t\ttype {self.kind.name}", "\t\tflags interval"]
        if self.ranges:
            lines.append(f"\t\telements = {{ {', '.join(self._elements())} }}")
        return "\n".join([*lines, "\t}"])

    def _elements(self) -> Iterator[str]:
        for first, last in self.ranges:
            if self.kind == PORT:
                yield str(first) if first == last else f"{first}-{last}"
            else:
                yield from map(str, networks_of(self.kind, first, last))


def networks_of(
    kind: Kind, first: int, last: int
) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks that make up a range of addresses."""
    if kind == ADDRESS4:
        four = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
        yield from ipaddress.summarize_address_range(*four)
    else:
        six = ipaddress.IPv6Address(first), ipaddress.IPv6Address(last)
        yield from ipaddress.summarize_address_range(*six)


@dataclass(frozen=True)
class Map:
    """A named map of keys to values, which is empty when its table is made."""

    name: str
    keys: Kind
    values: Kind

    def text(self) -> str:
        """The map as nft lists it."""
        return f"\tmap {self.name} {{\n\t\ttype {self.keys.name} : {self.values.name}\n\t}}"


@dataclass(frozen=True)
class Rule:
    """A rule as nft writes it, and the same in `faith.kernel.nft.expressions`."""

    text: str
    expressions: bytes


@dataclass(frozen=True)
class Hook:
    """Where packets enter a chain: *kind* is filter or nat, *name* the hook."""

    kind: str
    name: str
    priority: int


@dataclass(frozen=True)
class Chain:
    """Rules in their order; what passes them all goes on."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None

    def text(self) -> str:
        """The chain as nft reads it."""
        lines = [rule.text for rule in self.rules]
        if hook := self.hook:
            lines.insert(
                0,
                f"type {hook.kind} hook {hook.name} priority {hook.priority}; policy accept;",
            )
        return "\n".join([f"\tchain {self.name} {{", *(f"\t\t{line}" for line in lines), "\t}"])


@dataclass(frozen=True)
class Table:
    """A whole table."""

    name: str
    sets: tuple[Set, ...]
    chains: tuple[Chain, ...]
    maps: tuple[Map, ...] = ()
    family: str = IP6

    @property
    def containers(self) -> tuple[Set | Map, ...]:
        """What the rules look things up in."""
        return (*self.sets, *self.maps)

    def text(self) -> str:
        """A script for ``nft -f -`` that makes the table, in the place of one that is there."""
        parts = [s.text() for s in self.containers] + [chain.text() for chain in self.chains]
        name = f"table {self.family} {self.name}"
        return "\n".join([name, f"delete {name}", f"{name} {{", "\n\n".join(parts), "}", ""])
