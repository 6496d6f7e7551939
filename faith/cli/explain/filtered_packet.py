"""The first packet of a connection as packet filters look at it: its headers and where it is.

What differs from packet to packet, such as the client's port, is *unknown*, and so is each answer
that depends on it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from faith.translation.address import packed

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
LOCAL, UNICAST = 2, 1
"""Types of addresses, as ``fib … type`` has them (linux/rtnetlink.h)."""
INVALID, ESTABLISHED, NEW, UNTRACKED = 1, 2, 8, 64
"""States of connection tracking, as ``ct state`` has them."""
META_MARK, CONNECTION_MARK = 3, -1
"""Keys of marks that rules set and others look at: that of linux/netfilter/nf_tables.h, and one of
the connection's own."""

_SYN, _SYN_ACK = 0x02, 0x12
_V6, _V4 = 10, 2
_ETHER_TYPES = {_V6: b"\x86\xdd", _V4: b"\x08\x00"}
# Octets that no two connections have in common: class, flow label, length and hop limit; TOS,
# length, identification, fragment flags, TTL and checksum.
_UNKNOWN_NETWORK = {_V6: {0, 1, 2, 3, 4, 5, 7}, _V4: {1, 2, 3, 4, 5, 6, 7, 8, 10, 11}}


@dataclass(frozen=True)
class Interface:
    """An interface by its *index* and *name*; index 0 is none."""

    index: int = 0
    name: str = ""


NONE = Interface()


@dataclass(frozen=True)
class Packet:
    """A packet between *source* and *destination*, addresses as text.

    *port* is the server's, 0 for an echo request.  *answer* says that it comes from the server.
    *arrives* and *leaves* are interfaces, `NONE` where there is none.  *source_type* and
    *destination_type* are types of the addresses on this host.  *user* is that of the process it
    comes from, None where no process of this host sends it.  *state* is None where it is unknown.
    """

    source: str
    destination: str
    protocol: int
    port: int = 0
    answer: bool = False
    arrives: Interface = NONE
    leaves: Interface = NONE
    source_type: int = UNICAST
    destination_type: int = LOCAL
    state: int | None = NEW
    user: int | None = None

    @property
    def family(self) -> str:
        """The family of nftables, ``ip`` or ``ip6``."""
        return "ip6" if ":" in self.source else "ip"

    @property
    def number(self) -> int:
        """The number of the address family."""
        return _V6 if ":" in self.source else _V4

    @property
    def ether_type(self) -> bytes:
        return _ETHER_TYPES[self.number]

    def network_header(self) -> tuple[bytes, set[int]]:
        """Return the IP header, and the places of its octets that are unknown."""
        source, destination = packed(self.source), packed(self.destination)
        if self.number == _V6:
            head = struct.pack("!IHBB", 6 << 28, 0, self.protocol, 0)
        else:
            head = struct.pack("!BBHIBBH", 0x45, 0, 0, 0, 0, self.protocol, 0)
        return head + source + destination, _UNKNOWN_NETWORK[self.number]

    def transport_header(self) -> tuple[bytes, set[int]]:
        """Return the header of the transport protocol, and the places that are unknown."""
        if self.protocol in (ICMP, ICMPV6):
            request, reply = (8, 0) if self.protocol == ICMP else (128, 129)
            return bytes([reply if self.answer else request]) + bytes(7), set(range(2, 8))
        ports = (
            struct.pack("!HH", self.port, 0) if self.answer else struct.pack("!HH", 0, self.port)
        )
        unknown = {2, 3} if self.answer else {0, 1}
        if self.protocol == UDP:
            return ports + bytes(4), unknown | {4, 5, 6, 7}
        flags = _SYN_ACK if self.answer else _SYN
        rest = struct.pack("!IIBBHHH", 0, 0, 0x50, flags, 0, 0, 0)
        return ports + rest, unknown | set(range(4, 13)) | set(range(14, 20))


_MARKS = {META_MARK: bytes(4), CONNECTION_MARK: bytes(4)}


@dataclass
class Passage:
    """A packet on its way through the hooks, with what rules have made of it so far.

    *marks* has the metadata that rules set, without those that are unknown.  *from_other_source*
    says that a rule translates the source, or may.
    """

    packet: Packet
    from_other_source: bool = False
    marks: dict[int, bytes] = field(default_factory=lambda: dict(_MARKS))

    def mark(self, key: int, value: bytes | None, *, sure: bool) -> None:
        """Set the metadata *key*; None is an unknown value.  *sure*: by a rule that matches."""
        if sure and value is not None:
            self.marks[key] = value
        elif not sure and self.marks.get(key) == value:
            pass
        else:
            self.marks.pop(key, None)

    def leave_untracked(self, *, sure: bool) -> None:
        """Keep connection tracking away from the packet, which *sure* says is so."""
        if self.packet.state != UNTRACKED:
            self.packet = replace(self.packet, state=UNTRACKED if sure else None)

    def answered_by(self, answer: Packet) -> Passage:
        """Return the passage of *answer*: it is of no connection that is known if this packet was
        left untracked."""
        state = answer.state if self.packet.state == NEW else None
        return Passage(replace(answer, state=state))


def protocol_number(protocol: str, address: str) -> int:
    """Return the number of *protocol*, tcp, udp or icmp, between addresses such as *address*."""
    return {"tcp": TCP, "udp": UDP, "icmp": ICMPV6 if ":" in address else ICMP}[protocol]


def is_v4(address: str) -> bool:
    """Return whether *address*, as text, is of IPv4."""
    return ":" not in address


def plain(address: str) -> str:
    """Return *address* in its usual form (RFC 5952), without a zone; an IPv4-mapped address, as
    records and rules have IPv4 clients, in that of IPv4.  Raises ValueError."""
    text = address.partition("%")[0]
    if ":" not in text:
        return str(IPv4Address(text))
    found = IPv6Address(text)
    return str(found.ipv4_mapped or found)
