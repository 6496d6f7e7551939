"""One static map between IPv4 and IPv6 addresses: an explicit address mapping (RFC 7757)."""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.address import IPV4_MAPPED, text4, text6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from faith.translation.ports import Ports

    Network = tuple[int, int]

TCP = "tcp"
UDP = "udp"
ICMP = "icmp"
"""ICMP echo on the IPv4 side, ICMPv6 echo on the IPv6 side."""
PROTOCOLS = (TCP, UDP, ICMP)

BOTH = "both"
IN = "in"
"""From IPv4 to IPv6 only."""
OUT = "out"
"""From IPv6 to IPv4 only."""
DIRECTIONS = (BOTH, IN, OUT)

_NEVER6 = ((0, 96), (IPV4_MAPPED, 96), (0xFE80 << 112, 10), (0xFF << 120, 8))
"""Addresses without a meaning beyond their link: loopback and IPv4-compatible, IPv4-mapped,
link-local, multicast."""


class Map:
    """One static map of the IPv4 network *v4* and the IPv6 network *v6*, both ``(network,
    length)``.

    From IPv4 to IPv6, it serves connections of *protocols* to *ports* (None: all), and connects to
    *to_port* if that is given, else to the same port.  From IPv6 to IPv4, it gives the IPv6 hosts'
    own connections, from any port, their source address.  By default a map with ports serves TCP
    and UDP from IPv4 to IPv6 only, and one without ports serves everything.  *file* and *line* say
    where the map was read.  Raises ConfigError for values that contradict each other.
    """

    __slots__ = ("direction", "file", "line", "ports", "protocols", "to_port", "v4", "v6")

    def __init__(
        self,
        v4: Network,
        v6: Network,
        ports: Ports | None = None,
        to_port: int | None = None,
        protocols: frozenset[str] | None = None,
        direction: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.v4 = v4
        self.v6 = v6
        self.ports = ports
        self.to_port = to_port
        self.protocols = protocols or (_ALL if ports is None else _WITH_PORTS)
        self.direction = direction or (BOTH if ports is None else IN)
        self.file = file
        self.line = line
        fault = _fault_of_addresses(v4, v6) or _fault_of_ports(self)
        if fault:
            raise ConfigError(fault, file, line)

    @property
    def from_v4(self) -> bool:
        """True if the map serves connections from IPv4 to IPv6."""
        return self.direction != OUT

    @property
    def from_v6(self) -> bool:
        """True if the map serves the IPv6 hosts' own connections to IPv4."""
        return self.direction != IN

    def to_v6(self, v4: int) -> int:
        """Return the IPv6 address for *v4*, an address of the IPv4 network (RFC 7757 §3.3.1)."""
        return self.v6[0] | (v4 ^ self.v4[0]) << (96 + self.v4[1] - self.v6[1])

    def to_v4(self, v6: int) -> int:
        """Return the IPv4 address for *v6*, an address of the IPv6 network (RFC 7757 §3.3.2)."""
        return self.v4[0] | (v6 ^ self.v6[0]) >> (96 + self.v4[1] - self.v6[1])

    def said(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, by name."""
        found: dict[str, Any] = {}
        if self.protocols != (_ALL if self.ports is None else _WITH_PORTS):
            found["protocols"] = self.protocols
        if self.ports is not None:
            found["ports"] = self.ports
        if self.to_port is not None:
            found["to_port"] = self.to_port
        if self.direction != (BOTH if self.ports is None else IN):
            found["direction"] = self.direction
        return found

    def key(self) -> tuple[Any, ...]:
        """Return everything that makes two maps equal; file and line do not count."""
        return self.v4, self.v6, self.ports, self.to_port, self.protocols, self.direction

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Map) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __str__(self) -> str:
        """Return the map as a line of a map file."""
        said = self.said()
        if "protocols" in said:
            said["protocols"] = ",".join(word for word in PROTOCOLS if word in self.protocols)
        words = (f"{key}={value}" for key, value in said.items())
        return " ".join([text4(*self.v4), text6(*self.v6), *words])

    def __repr__(self) -> str:
        return f"<Map {self}>"


_ALL = frozenset(PROTOCOLS)
_WITH_PORTS = frozenset((TCP, UDP))
_TO_PORT = "to_port needs ports with exactly one port"


def _fault_of_addresses(v4: Network, v6: Network) -> str | None:
    """Return what is wrong with the two networks of a map, or None."""
    (network4, length4), (network6, length6) = v4, v6
    if network4 & (1 << 32 - length4) - 1:
        shown = text4(network4 >> 32 - length4 << 32 - length4, length4)
        return f"{text4(*v4)}: host bits are set; did you mean {shown}?"
    if network6 & (1 << 128 - length6) - 1:
        shown = text6(network6 >> 128 - length6 << 128 - length6, length6)
        return f"{text6(*v6)}: host bits are set; did you mean {shown}?"
    if length6 - length4 > 96:
        return (
            f"{text6(*v6)} has {128 - length6} bits for the hosts of {text4(*v4)}, who need"
            f" {32 - length4}; did you mean /{96 + length4}?"
        )
    first, last = network4 >> 24, (network4 | (1 << 32 - length4) - 1) >> 24
    if first == 0 or first <= 127 <= last or last >= 224:  # this network, loopback, multicast
        return f"{text4(*v4)} contains addresses that no host can have"
    if network6 >> 125 != 1 and any(overlap(v6, never, 128) for never in _NEVER6):
        return f"{text6(*v6)} contains loopback, link-local, IPv4-mapped or multicast addresses"
    return None


def _fault_of_ports(one: Map) -> str | None:
    """Return what is wrong with the ports of a map and the options beside them, or None."""
    if one.ports is None:
        return None if one.to_port is None else _TO_PORT
    if ICMP in one.protocols:
        return "ICMP has no ports: a map with ports is for tcp and udp only"
    if not one.from_v4:
        return "ports limit connections from IPv4, so direction out cannot have them"
    return None if one.to_port is None or len(one.ports) == 1 else _TO_PORT


def overlap(one: Network, other: Network, bits: int) -> bool:
    """Return whether one of two networks of *bits*-wide addresses contains the other."""
    shift = bits - min(one[1], other[1])
    return one[0] >> shift == other[0] >> shift
