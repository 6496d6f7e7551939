"""The conversion of ``faith addr``: IPv4 addresses to mapped IPv6 addresses, and back."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.errors import ConfigError, FaithError
from faith.translation.prefix import LOW32, Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.translation.prefix import Prefix

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Pair:
    """The IPv4 address *v4* and the address *v6* that it is mapped to under *prefix*.

    *asked* is the one of the two that is known; the other is the answer.
    """

    asked: Address
    v4: ipaddress.IPv4Address
    v6: ipaddress.IPv6Address
    prefix: Prefix

    def answer(self, *, in_hex: bool = False) -> str:
        """The address that was not known.

        A mapped address ends in the IPv4 one, as people write it, where the IPv4 address is its
        last 32 bits (RFC 6052 §2.4), and is all in hexadecimal (RFC 5952) elsewhere or *in_hex*.
        """
        if self.asked.version == 6:
            return str(self.v4)
        ends_in_v4 = self.prefix.layout == LOW32 or self.prefix.length == 96
        return dotted(self.v6) if ends_in_v4 and not in_hex else str(self.v6)

    def fields(self) -> dict[str, str]:
        """The same by name, for JSON; the mapped address in hexadecimal."""
        return {
            "ipv4": str(self.v4),
            "mapped": str(self.v6),
            "prefix": str(self.prefix),
            "layout": self.prefix.layout,
        }


def convert(addresses: Iterable[str], prefixes: Iterable[Prefix]) -> list[Pair]:
    """Return the pairs of *addresses*: IPv4 under every prefix, IPv6 under its longest prefix.

    Raises ConfigError for text that is not an address, and FaithError for an IPv6 address that no
    prefix holds.
    """
    known = Prefixes(prefixes)
    return [
        pair for address in [_parse(text) for text in addresses] for pair in _of(address, known)
    ]


def dotted(v6: ipaddress.IPv6Address) -> str:
    """Return *v6* as text with its last 32 bits in IPv4 notation."""
    tail = int(v6) & 0xFFFFFFFF
    # Ones in the last two groups keep "::" away from them, as the IPv4 notation would.
    head = str(ipaddress.IPv6Address(int(v6) - tail + 0x0001_0001)).removesuffix("1:1")
    return f"{head}{ipaddress.IPv4Address(tail)}"


def _parse(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not an address; names are not looked up") from None


def _of(address: Address, prefixes: Prefixes) -> Iterator[Pair]:
    if isinstance(address, ipaddress.IPv4Address):
        for prefix in prefixes:
            yield Pair(address, address, ipaddress.IPv6Address(prefix.map(int(address))), prefix)
        return
    found = prefixes.find(int(address))
    if found is None:
        raise FaithError(f"{address} is not under {' or '.join(map(str, prefixes))}")
    yield Pair(address, ipaddress.IPv4Address(found.unmap(int(address))), address, found)
