"""The code of programs for the kernel's socket lookup, and the keys and values of their maps."""

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
"""The index of a listener in its map; also the key of the one value of the ports, the bitmap."""

PAIR_SIZE = 2 * 16
"""Octets of a key of the pairs: the client's and the mapped address; the value is a slot."""

BITMAP_SIZE = 65536 // 8
"""Octets of the bitmap of ports."""

Code = list[Instruction | Label]

# struct bpf_sk_lookup (uapi/linux/bpf.h): the offsets of its fields.
_FAMILY, _PROTOCOL, _LOCAL_PORT = 8, 12, 60
_REMOTE_IP4, _REMOTE_IP6, _LOCAL_IP4, _LOCAL_IP6 = 16, 20, 40, 44
# Helpers.
_MAP_LOOKUP_ELEM, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
_SK_PASS = 1
_REPLACE = 1  # BPF_SK_LOOKUP_F_REPLACE


class Flow(NamedTuple):
    """The packets a program is for: a *family* of addresses and a *protocol*, as in socket(2)."""

    family: int
    protocol: int

    @property
    def octets(self) -> int:
        """Octets of an address."""
        return 4 if self.family == _socket.AF_INET else 16

    @property
    def network_key(self) -> struct.Struct:
        """The key of the networks (struct bpf_lpm_trie_key): prefix length and address.

        The value is a slot.
        """
        return struct.Struct(f"=I{self.octets}s")

    @property
    def pinhole_key(self) -> struct.Struct:
        """The key of the pinholes: client address, own address, own port; the value is
        a listener."""
        return struct.Struct(f"={self.octets}s{self.octets}sI")

    @property
    def remote(self) -> int:
        """The offset of the sender's address in the context."""
        return _REMOTE_IP4 if self.family == _socket.AF_INET else _REMOTE_IP6

    @property
    def local(self) -> int:
        """The offset of the destination address in the context."""
        return _LOCAL_IP4 if self.family == _socket.AF_INET else _LOCAL_IP6


TCP6 = Flow(_socket.AF_INET6, _socket.IPPROTO_TCP)
TCP4 = Flow(_socket.AF_INET, _socket.IPPROTO_TCP)
UDP6 = Flow(_socket.AF_INET6, _socket.IPPROTO_UDP)
UDP4 = Flow(_socket.AF_INET, _socket.IPPROTO_UDP)


def bitmap(ports: Iterable[int]) -> bytes:
    """Return a bit for each of the 65,536 ports: bit ``port & 7`` of octet ``port >> 3``."""
    bits = bytearray(BITMAP_SIZE)
    for port in ports:
        bits[port >> 3] |= 1 << (port & 7)
    return bytes(bits)


def program(flow: Flow, networks: int, ports: int, sockets: int) -> Code:
    """Return the program for *flow*, on the maps that are open at these descriptors.

    Each part falls through to the next, or jumps to its *otherwise* when the packet does not match.
    Further tests of ports can be put between the port's test and "pass".
    """
    return [
        copy(R6, R1),  # the context
        *_is_of(flow, otherwise="pass"),
        *_find_network(flow, networks, otherwise="pass"),
        copy(R7, R0),  # the socket's slot
        *_test_port(ports, otherwise="pass"),
        *_assign(sockets, otherwise="pass"),
        Label("pass"),  # to the kernel's own search, which respects what was assigned
        put(R0, _SK_PASS),
        leave(),
    ]


def binding_program(pairs: int, listeners: int) -> Code:
    """Return the program of host bindings, on the maps that are open at these descriptors."""
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


def pinhole_program(flow: Flow, pinholes: int) -> Code:
    """Return the program for `faith.kernel.steering.pinholes`, on the map open at this descriptor.

    It overrides the choice of programs before it, and those after it keep its choice.
    """
    key = -flow.pinhole_key.size
    return [
        copy(R6, R1),  # the context
        *_is_of(flow, otherwise="pass"),
        *_store(flow, flow.remote, key),
        *_store(flow, flow.local, key + flow.octets),
        load32(R2, R6, _LOCAL_PORT),
        store32(STACK, key + 2 * flow.octets, R2),
        load_map(R1, pinholes),
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
    """Store the *address* of the context on the stack, from *where* on."""
    stored: Code = []
    for word in range(0, flow.octets, 4):
        stored += [load32(R2, R6, address + word), store32(STACK, where + word, R2)]
    return stored


def _find_pair(pairs: int, otherwise: str) -> Code:
    """R0 = the address of the slot for the pair"""
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
    """R0 = the address of the slot for the destination's network"""
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
    """Fall through when the destination port's bit is set; the bitmap is the map's only value.

    The kernel updates the bitmap octet by octet, so the bit of one port is never half written.
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
        mask(R2, BITMAP_SIZE - 1),  # for the verifier, which does not know the range of ports
        add(R0, R2),
        load8(R0, R0, 0),
        mask(R1, 7),
        shift_right(R0, R1),
        mask(R0, 1),
        jump_if(R0, 0, otherwise),
    ]


def _assign(sockets: int, otherwise: str) -> Code:
    """Choose the socket in the slot that R7 points to; jump to *otherwise* if the slot is empty.

    Without flags: the choice of an earlier program stays, and the kernel selects within a reuseport
    group.
    """
    return [
        load_map(R1, sockets),
        copy(R2, R7),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
        *_choose(flags=0),
    ]


def _choose(flags: int) -> Code:
    """Choose the socket in R0, and release it."""
    return [
        copy(R7, R0),
        copy(R1, R6),
        copy(R2, R7),
        put(R3, flags),
        call(_SK_ASSIGN),
        copy(R1, R7),
        call(_SK_RELEASE),
    ]
