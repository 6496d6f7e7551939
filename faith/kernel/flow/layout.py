"""The layout of flows in the kernel: slots, keys of the two tables, and events.

It is what flow.bpf.c declares; a change to either raises LAYOUT in both.  A slot describes one
flow: a TCP conversation of an IPv6 client with a *mapped* address, which is an IPv4 conversation of
a *source* of this gateway with a *server*.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

LAYOUT = 1
"""The version of this layout, which the maps carry."""

TAG_SYN = 0xFA170001
"""The priority (``skb->priority``, ``meta priority`` of nftables) of a SYN that asks for a flow."""

TAG_FALLEN = 0xFA170002
"""The priority of an IPv6 packet of a flow that the program does not translate: a first fragment,
one with extension headers, or one that is to be fragmented."""

FIN6, FIN4, RST6, RST4 = 1, 2, 4, 8
"""State: a FIN or a valid RST has passed from the IPv6 side, the client, or from the IPv4 side."""
SYNACK = 16
"""State: a SYN of the server has passed: its answer, or its own where both opened at once."""
CLOSED = 32
"""State: both FINs or a valid RST have passed.  The program still translates what comes late, but
a SYN of the client asks for a new flow."""
SUSPECT = 64
"""State: the last packet was an RST that may be forged (RFC 6146, section 3.5.2.2: TRANS)."""
ESTABLISHED = 128
"""State: the client has acknowledged the server's SYN."""

CLOSE, ICMP4, ICMP6, TOO_BIG6, TOO_BIG4, HOPS6, HOPS4 = range(1, 8)
"""Kinds of events: a flow became CLOSED (the argument is its state); an ICMP error about it came
from the IPv4 or the IPv6 side; a packet from the IPv6 or the IPv4 side is too big for the way out
(the argument is its MTU) or has used up its hop limit.  All packets but that of CLOSE are dropped.
"""

# client, mapped, source, server, three ports, two interfaces, two sums, four sizes, state,
# generation, started, two sides
_SLOT = "16s16s4s4sHHH2xIIIIHHHHIIQ" + 2 * "IIQQQ" + "8x"
SLOT = struct.Struct("=" + _SLOT)
_PORTS, _PORTS_AT = struct.Struct("!HHH"), 40  # of source, client and server; big-endian
_KEYS = struct.Struct("=32s4s4s2s2s2s")
OIF = 48  # offsets: of the interfaces, ...
SIZES = 64  # ... the MTUs and MSSs, ...
STATE, GENERATION, STARTED = 72, 76, 80
CLIENT, SERVER = 88, 120  # ... and of the sides ...
LAST = 8  # ... with this in a side
SIDE = struct.Struct("=IIQQQ")
MOST_MTU = 0xFFFF

PACKET = 144
"""The most octets of a packet in an event."""
EVENT = struct.Struct("=6I")  # kind, interface, slot, generation, argument, length of the packet

KEY6, KEY4 = 36, 12
"""The octets of a key of the table of IPv6 and of IPv4 packets."""


class Side(NamedTuple):
    """The packets that ARRIVED from one side.

    *next* is the sequence number after the highest octet, *acked* the last acknowledgement number,
    *last* the CLOCK_MONOTONIC time in ns of the last packet, *octets* counts TCP payload.
    """

    next: int = 0
    acked: int = 0
    last: int = 0
    packets: int = 0
    octets: int = 0


class Slot(NamedTuple):
    """A flow.  Addresses are packed, ports are numbers.

    *sum64* and *sum46* are the changes of the pseudo header's sum in either direction: 32-bit
    ones' complement sums of 16-bit words as this machine's CPU reads them.  *oif4* is the interface
    towards the server, *oif6* towards the client, *mtu4* and *mtu6* are the MTUs of these ways,
    *mss4* and *mss6* the greatest MSS that a SYN may announce towards that side (0: any).
    *started* is the CLOCK_MONOTONIC time in ns, never 0 in a slot in use.
    """

    client: bytes
    mapped: bytes
    source: bytes
    server: bytes
    source_port: int
    client_port: int
    server_port: int
    oif4: int
    oif6: int
    sum64: int
    sum46: int
    mtu4: int
    mtu6: int
    mss4: int
    mss6: int
    state: int
    generation: int
    started: int
    from_client: Side
    from_server: Side

    @property
    def key6(self) -> bytes:
        """The key of the client's packets."""
        return key6(self.client, self.mapped, self.client_port, self.server_port)

    @property
    def key4(self) -> bytes:
        """The key of the server's packets."""
        return key4(self.server, self.source, self.server_port, self.source_port)


def check(version: int) -> None:
    """Raise ValueError if *version* is not this layout's."""
    if version != LAYOUT:
        raise ValueError(f"flows of layout {version}: this program knows {LAYOUT}")


def read_slot(memory: memoryview, at: int) -> Slot:
    """Return the slot at the offset *at* of *memory*."""
    found = SLOT.unpack_from(memory, at)
    ports = _PORTS.unpack_from(memory, at + _PORTS_AT)
    sides = Side._make(found[18:23]), Side._make(found[23:])
    return Slot._make(found[:4] + ports + found[7:18] + sides)


def read_keys(memory: memoryview, at: int) -> tuple[bytes, bytes]:
    """Return both keys, `key6` and `key4`, of the slot at the offset *at* of *memory*."""
    ends, source, server, source_port, client_port, server_port = _KEYS.unpack_from(memory, at)
    return ends + client_port + server_port, server + source + server_port + source_port


def write_slot(memory: memoryview, at: int, slot: Slot) -> None:
    """Write *slot* at the offset *at* of *memory*.

    MTUs beyond 65535 are written as 65535: no IPv4 packet is longer.
    """
    after, acked, last, *counts = slot.from_client
    sizes: tuple[int, ...] = slot[11:15]
    if max(sizes) > MOST_MTU:
        sizes = tuple(min(size, MOST_MTU) for size in sizes)
    # the client's SYN is the first packet of a flow
    client = after, acked, max(last, slot.started), *counts
    SLOT.pack_into(memory, at, *slot[:11], *sizes, *slot[15:18], *client, *slot.from_server)
    _PORTS.pack_into(memory, at + _PORTS_AT, *slot[4:7])


def key6(client: bytes, mapped: bytes, client_port: int, server_port: int) -> bytes:
    """Return the key by which the program looks a client's packet up."""
    return client + mapped + struct.pack("!HH", client_port, server_port)


def key4(server: bytes, source: bytes, server_port: int, source_port: int) -> bytes:
    """Return the key by which the program looks a server's packet up."""
    return server + source + struct.pack("!HH", server_port, source_port)


class Event(NamedTuple):
    """An event of the *kind*, seen at the *interface*, about the *generation* of a *slot*.

    *packet* is the packet from its IP header on, cut after PACKET octets.
    """

    kind: int
    interface: int
    slot: int
    generation: int
    argument: int
    packet: bytes


def read_event(record: bytes) -> Event:
    """Parse a record of the ring."""
    *head, length = EVENT.unpack_from(record)
    return Event._make((*head, record[EVENT.size : EVENT.size + length]))
