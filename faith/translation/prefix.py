"""Prefixes reserved for mapped addresses, and the place of the IPv4 octets in them.

Addresses are integers here (IPv4: 32 bits, IPv6: 128 bits), and text only in :meth:`Prefix.parse`
and :func:`str`.  There is no dataclass and no enum, and ipaddress is imported only where text is
read: inetd mode imports this module for every connection.
"""

from __future__ import annotations

from faith.errors import ConfigError, meant
from faith.translation.address import IPV4_MAPPED, packed6, text6
from faith.translation.networks import Networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOW32 = "low32"
"""RFC 3142 §3 and KAME: the lowermost 32 bits, at any prefix length up to 96."""
RFC6052 = "rfc6052"
"""RFC 6052 §2.2: lengths 32, 40, 48, 56, 64 and 96, octet 64-71 left zero."""
LAYOUTS = (LOW32, RFC6052)

_RFC6052_LENGTHS = (32, 40, 48, 56, 64, 96)
_AMBIGUOUS = _RFC6052_LENGTHS[:-1]
_NEVER = (
    (0, 127, "the unspecified and the loopback address"),
    (IPV4_MAPPED, 96, "the IPv4-mapped addresses, which no packet may carry"),
    (0xFE80 << 112, 10, "the link-local addresses"),
    (0xFF << 120, 8, "the multicast addresses"),
)
_U_OCTET_SHIFT = 56  # bits 64-71 of the address, counted from the right


class Prefix:
    """An IPv6 prefix reserved for mapped addresses, with its layout.

    *address* is the network as a 128-bit integer.  Raises ConfigError for a length or an address
    that the layout does not allow.
    """

    __slots__ = ("_u", "address", "layout", "length")

    def __init__(self, address: int, length: int, layout: str = LOW32) -> None:
        self.address = address
        self.length = length
        self.layout = layout
        # The v4 octets end where the prefix plus 32 bits end; the part that crosses the u octet
        # moves eight bits to the right (RFC 6052 §2.3).
        self._u = layout == RFC6052 and length < 96
        self._check()

    def _check(self) -> None:
        if self.layout not in LAYOUTS:
            near = meant(self.layout, LAYOUTS)
            raise ConfigError(f"layout {self.layout!r} is not one of {', '.join(LAYOUTS)}{near}")
        if not 0 < self.length <= 96:
            raise ConfigError(
                f"{self}: a prefix is 1 to 96 bits long, so that 32 remain for the IPv4 address"
            )
        if self.layout == RFC6052 and self.length not in _RFC6052_LENGTHS:
            raise ConfigError(
                f"{self}: layout rfc6052 has lengths 32, 40, 48, 56, 64 and 96 (RFC 6052 §2.2);"
                " layout low32 takes any"
            )
        if self.address & ((1 << (128 - self.length)) - 1):
            raise ConfigError(f"{self}: host bits are set; did you mean {self._network()}?")
        if self.layout == RFC6052 and self.length == 96 and self.address >> _U_OCTET_SHIFT & 0xFF:
            raise ConfigError(f"{self}: bits 64 to 71 must be zero (RFC 6052 §2.2)")
        if self.address >> 120 == 0xFF:
            raise ConfigError(f"{self}: a multicast range cannot hold mapped addresses")

    def _network(self) -> str:
        shift = 128 - self.length
        return text6(self.address >> shift << shift, self.length)

    @classmethod
    def parse(cls, text: str, layout: str | None = None) -> Prefix:
        """Parse ``ADDRESS[/LENGTH]``; without a length it is /96, as in KAME's faith(1).

        Without a *layout* it is low32, which at /96 is RFC 6052's too.  A length at which the two
        differ needs one (`is_ambiguous`).  Raises ConfigError saying what is wrong and what would
        be right.
        """
        import ipaddress

        address, slash, length = text.strip().partition("/")
        try:
            number = int(ipaddress.IPv6Address(address))
        except ValueError:
            raise ConfigError(_not_ipv6(text, address)) from None
        if "%" in address:
            raise ConfigError(f"{text}: a prefix has no zone (the part from %)")
        if slash and not (length.isascii() and length.isdigit()):
            raise ConfigError(f"{text}: {length!r} is not a prefix length")
        prefix = cls(number, int(length) if slash else 96, layout or LOW32)
        if layout is None and is_ambiguous(prefix):
            raise ConfigError(
                f"{prefix} needs a layout: rfc6052 (RFC 6052 §2.2: CLATs, DNS64 servers, hosts that"
                " learn the prefix), or low32, the last 32 bits (RFC 3142, KAME, and older versions"
                " of this program where none was given)"
            )
        return prefix

    def map(self, v4: int) -> int:
        """Return the mapped address of the IPv4 address *v4* (RFC 6052 §2.3; RFC 3142 §3)."""
        if not self._u:
            return self.address | v4
        whole = v4 << (96 - self.length)
        above = whole >> 64 << 64
        return self.address | above | (whole ^ above) >> 8

    def unmap(self, v6: int) -> int:
        """Return the IPv4 address in *v6*, a mapped address in this prefix.

        Suffix bits and the u octet are ignored (RFC 6052 §2.2, §2.3).
        """
        if not self._u:
            return v6 & 0xFFFFFFFF
        joined = v6 >> 64 << 64 | (v6 & 0x00FFFFFF_FFFFFFFF) << 8
        return joined >> (96 - self.length) & 0xFFFFFFFF

    @property
    def well_known(self) -> bool:
        """True if this is 64:ff9b::/96, in either layout: at /96 they agree (RFC 6052 §2.1)."""
        return self.length == 96 and self.address == 0x0064_FF9B << 96

    @property
    def packed(self) -> bytes:
        """The network address as 16 octets."""
        return packed6(self.address)

    def __contains__(self, v6: int) -> bool:
        return v6 >> (128 - self.length) == self.address >> (128 - self.length)

    def overlaps(self, other: Prefix) -> bool:
        """Return whether one of the two prefixes contains the other."""
        shift = 128 - min(self.length, other.length)
        return self.address >> shift == other.address >> shift

    def __str__(self) -> str:
        return text6(self.address, self.length)

    def __repr__(self) -> str:
        return f"Prefix.parse({str(self)!r}, {self.layout!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefix) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int, str]:
        return self.address, self.length, self.layout


def is_ambiguous(prefix: Prefix) -> bool:
    """Return whether the IPv4 address may sit in two places, by the length: 32, 40, 48, 56, 64."""
    return prefix.length in _AMBIGUOUS


def never_reserved(prefix: Prefix) -> str | None:
    """Return why no host can reserve *prefix*, as a clause about "it"; None if one can."""
    for network, length, what in _NEVER:
        shift = 128 - min(length, prefix.length)
        if network >> shift == prefix.address >> shift:
            return f"it overlaps {text6(network)}/{length}, {what}"
    return None


def _not_ipv6(text: str, address: str) -> str:
    import ipaddress

    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return f"{text}: not an IPv6 prefix (such as 2001:db8:ffff::/96)"
    return f"{text}: that is IPv4; the reserved prefix is IPv6 (such as 64:ff9b::/96)"


class Prefixes:
    """An immutable set of prefixes with longest-match look-up."""

    __slots__ = ("_all", "_by_network", "_networks")

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self._all = tuple(sorted(set(prefixes), key=Prefix._key))
        self._by_network = {(p.address, p.length): p for p in self._all}
        self._networks = Networks(128, self._by_network)

    def find(self, v6: int) -> Prefix | None:
        """Return the longest prefix that contains *v6* (128 bits), or None."""
        network = self._networks.find(v6)
        return self._by_network[network] if network else None

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefixes) and self._all == other._all

    def __hash__(self) -> int:
        return hash(self._all)
