"""Programs for the kernel's socket lookup, and the shape of the maps that they read."""

from __future__ import annotations

import _socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.bpf.assembler import (
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    STACK,
    Instruction,
    Label,
    add,
    add_value,
    call,
    copy,
    jump_if,
    jump_unless,
    leave,
    load8,
    load32,
    load_map,
    mask,
    put,
    shift_right,
    shift_right_by,
    store32,
    store32_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOT = struct.Struct("=I")
"""Where in its map a listener is; also the key of the only value of the ports, the bitmap."""

PAIR_SIZE = 2 * 16
"""Octets of the key of the pairs: the client's address and ours; the value is a slot."""

BITMAP_SIZE = 65536 // 8
"""Octets of the ports' value."""

Code = list[Instruction | Label]

# struct bpf_sk_lookup (uapi/linux/bpf.h): where the context has what we ask for.
_FAMILY, _PROTOCOL, _LOCAL_PORT = 8, 12, 60
_REMOTE_IP4, _REMOTE_IP6, _LOCAL_IP4, _LOCAL_IP6 = 16, 20, 40, 44
# Helpers.
_MAP_LOOKUP_ELEM, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
_SK_PASS = 1
_REPLACE = 1  # BPF_SK_LOOKUP_F_REPLACE


class Flow(NamedTuple):
    """What a program is for: a *family* of addresses and a *protocol*, as socket(2) has them."""

    family: int
    protocol: int

    @property
    def octets(self) -> int:
        """Of an address."""
        return 4 if self.family == _socket.AF_INET else 16

    @property
    def network_key(self) -> struct.Struct:
        """The key of the networks (struct bpf_lpm_trie_key): length and address.

        The value is a slot.
        """
        return struct.Struct(f"=I{self.octets}s")

    @property
    def door_key(self) -> struct.Struct:
        """The key of the doors: the client's address, ours, our port; the value is a listener."""
        return struct.Struct(f"={self.octets}s{self.octets}sI")

    @property
    def remote(self) -> int:
        """Where the context has the address of who sends."""
        return _REMOTE_IP4 if self.family == _socket.AF_INET else _REMOTE_IP6

    @property
    def local(self) -> int:
        """Where the context has the address that it is for."""
        return _LOCAL_IP4 if self.family == _socket.AF_INET else _LOCAL_IP6


TCP6 = Flow(_socket.AF_INET6, _socket.IPPROTO_TCP)
TCP4 = Flow(_socket.AF_INET, _socket.IPPROTO_TCP)
UDP6 = Flow(_socket.AF_INET6, _socket.IPPROTO_UDP)
UDP4 = Flow(_socket.AF_INET, _socket.IPPROTO_UDP)


def bitmap(ports: Iterable[int]) -> bytes:
    """A bit for each of the 65,536 ports: bit ``port & 7`` of octet ``port >> 3``."""
    bits = bytearray(BITMAP_SIZE)
    for port in ports:
        bits[port >> 3] |= 1 << (port & 7)
    return bytes(bits)


def program(flow: Flow, networks: int, ports: int, sockets: int) -> Code:
    """The program for *flow*, on the maps that are open at these descriptors.

    Each part goes on to the next, or to its *otherwise* when the packet is not for it.  More
    ways for a port to be ours can be put between the port's test and "pass".
    """
    return [
        copy(R6, R1),  # the context
        *_is_of(flow, otherwise="pass"),
        *_find_network(flow, networks, otherwise="pass"),
        copy(R7, R0),  # the socket's slot
        *_test_port(ports, otherwise="pass"),
        *_assign(sockets, otherwise="pass"),
        Label("pass"),  # to the kernel's own search, which heeds what was assigned
        put(R0, _SK_PASS),
        leave(),
    ]


def pairs_program(pairs: int, listeners: int) -> Code:
    """The program for `kernel.steering.host_bindings`, on the maps open at these descriptors."""
    return [
        copy(R6, R1),  # the context
        *_is_of(TCP6, otherwise="pass"),
        load32(R2, R6, _LOCAL_PORT),
        shift_right_by(R2, 10),
        jump_if(R2, 0, "pass"),  # a port below 1024
        *_find_pair(pairs, otherwise="pass"),
        copy(R7, R0),  # the listener's slot
        *_assign(listeners, otherwise="pass"),
        Label("pass"),
        put(R0, _SK_PASS),
        leave(),
    ]


def doors_program(flow: Flow, doors: int) -> Code:
    """The program for `faith.kernel.steering.pinholes`, on the map open at this descriptor.

    What programs before it chose gives way, and those after it keep to its choice.
    """
    key = -flow.door_key.size
    return [
        copy(R6, R1),  # the context
        *_is_of(flow, otherwise="pass"),
        *_store(flow, flow.remote, key),
        *_store(flow, flow.local, key + flow.octets),
        load32(R2, R6, _LOCAL_PORT),
        store32(STACK, key + 2 * flow.octets, R2),
        load_map(R1, doors),
        copy(R2, STACK),
        add_value(R2, key),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, "pass"),
        *_choose(flags=_REPLACE),
        Label("pass"),
        put(R0, _SK_PASS),
        leave(),
    ]


def _store(flow: Flow, address: int, where: int) -> Code:
    """The *address* of the context on the stack, from *where* on."""
    stored: Code = []
    for word in range(0, flow.octets, 4):
        stored += [load32(R2, R6, address + word), store32(STACK, where + word, R2)]
    return stored


def _find_pair(pairs: int, otherwise: str) -> Code:
    """R0 = where the slot for the two addresses is."""
    key = -PAIR_SIZE
    return [
        *_store(TCP6, TCP6.remote, key),
        *_store(TCP6, TCP6.local, key + TCP6.octets),
        load_map(R1, pairs),
        copy(R2, STACK),
        add_value(R2, key),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
    ]


def _is_of(flow: Flow, otherwise: str) -> Code:
    return [
        load32(R2, R6, _FAMILY),
        jump_unless(R2, flow.family, otherwise),
        load32(R2, R6, _PROTOCOL),
        jump_unless(R2, flow.protocol, otherwise),
    ]


def _find_network(flow: Flow, networks: int, otherwise: str) -> Code:
    """R0 = where the slot for the destination's network is."""
    key = -24
    return [
        store32_value(STACK, key, 8 * flow.octets),
        *_store(flow, flow.local, key + 4),
        load_map(R1, networks),
        copy(R2, STACK),
        add_value(R2, key),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
    ]


def _test_port(ports: int, otherwise: str) -> Code:
    """Go on when the destination port's bit is set; the bitmap is the map's only value.

    A change of the map goes octet by octet, so it is never half done for any one port.
    """
    key = -24
    return [
        store32_value(STACK, key, 0),
        load_map(R1, ports),
        copy(R2, STACK),
        add_value(R2, key),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
        load32(R1, R6, _LOCAL_PORT),
        copy(R2, R1),
        shift_right_by(R2, 3),
        mask(R2, BITMAP_SIZE - 1),  # for the verifier, which knows nothing of ports
        add(R0, R2),
        load8(R0, R0, 0),
        mask(R1, 7),
        shift_right(R0, R1),
        mask(R0, 1),
        jump_if(R0, 0, otherwise),
    ]


def _assign(sockets: int, otherwise: str) -> Code:
    """Choose the socket in the slot that R7 points to; of a slot with none, *otherwise*.

    Without flags: what an earlier program chose stays, and a reuseport group has its say.
    """
    return [
        load_map(R1, sockets),
        copy(R2, R7),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
        *_choose(flags=0),
    ]


def _choose(flags: int) -> Code:
    """Choose the socket in R0, and let go of it."""
    return [
        copy(R7, R0),
        copy(R1, R6),
        copy(R2, R7),
        put(R3, flags),
        call(_SK_ASSIGN),
        copy(R1, R7),
        call(_SK_RELEASE),
    ]
