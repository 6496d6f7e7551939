"""The program of `faith.kernel.steering.sk_lookup`, and the shape of the maps it reads."""

from __future__ import annotations

import _socket
import struct
from typing import TYPE_CHECKING

from faith.kernel.assembler import (
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

PREFIX_KEY = struct.Struct("=I16s")
"""The key of the prefixes (struct bpf_lpm_trie_key): length and address; the value is a slot."""

SLOT = struct.Struct("=I")
"""Where in its map a listener is; also the key of the only value of the ports, the bitmap."""

PAIR_SIZE = 2 * 16
"""Octets of the key of the pairs: the client's address and ours; the value is a slot."""

DOOR_KEY = struct.Struct("=16s16sI")
"""The key of the doors: the client's address, ours and our port; the value is a listener."""

BITMAP_SIZE = 65536 // 8
"""Octets of the ports' value."""

Code = list[Instruction | Label]

# struct bpf_sk_lookup (uapi/linux/bpf.h): where the context has what we ask for.
_FAMILY, _PROTOCOL, _REMOTE_IP6, _LOCAL_IP6, _LOCAL_PORT = 8, 12, 20, 44, 60
# Helpers.
_MAP_LOOKUP_ELEM, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
_SK_PASS = 1
_REPLACE = 1  # BPF_SK_LOOKUP_F_REPLACE


def bitmap(ports: Iterable[int]) -> bytes:
    """A bit for each of the 65,536 ports: bit ``port & 7`` of octet ``port >> 3``."""
    bits = bytearray(BITMAP_SIZE)
    for port in ports:
        bits[port >> 3] |= 1 << (port & 7)
    return bytes(bits)


def program(prefixes: int, ports: int, listeners: int) -> Code:
    """The program, on the maps that are open at these descriptors.

    Each part goes on to the next, or to its *otherwise* when the connection is not for it.  More
    ways for a port to be ours can be put between the port's test and "pass".
    """
    return [
        copy(R6, R1),  # the context
        *_tcp_over_ipv6(otherwise="pass"),
        *_find_prefix(prefixes, otherwise="pass"),
        copy(R7, R0),  # the listener's slot
        *_test_port(ports, otherwise="pass"),
        *_assign(listeners, otherwise="pass"),
        Label("pass"),  # to the kernel's own search, which heeds what was assigned
        put(R0, _SK_PASS),
        leave(),
    ]


def pairs_program(pairs: int, listeners: int) -> Code:
    """The program for `faith.kernel.steering.pairs`, on the maps open at these descriptors."""
    return [
        copy(R6, R1),  # the context
        *_tcp_over_ipv6(otherwise="pass"),
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


def doors_program(doors: int) -> Code:
    """The program for `faith.kernel.steering.doors`, on the map open at this descriptor.

    What programs before it chose gives way, and those after it keep to its choice.
    """
    key = -DOOR_KEY.size
    return [
        copy(R6, R1),  # the context
        *_tcp_over_ipv6(otherwise="pass"),
        *_store_addresses(key),
        load32(R2, R6, _LOCAL_PORT),
        store32(STACK, key + PAIR_SIZE, R2),
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


def _store_addresses(key: int) -> Code:
    """The client's address and ours on the stack, from *key* on."""
    stored: Code = []
    for number, address in enumerate((_REMOTE_IP6, _LOCAL_IP6)):
        for word in range(0, 16, 4):
            stored.append(load32(R2, R6, address + word))
            stored.append(store32(STACK, key + 16 * number + word, R2))
    return stored


def _find_pair(pairs: int, otherwise: str) -> Code:
    """R0 = where the slot for the two addresses is."""
    key = -PAIR_SIZE
    return [
        *_store_addresses(key),
        load_map(R1, pairs),
        copy(R2, STACK),
        add_value(R2, key),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
    ]


def _tcp_over_ipv6(otherwise: str) -> Code:
    return [
        load32(R2, R6, _FAMILY),
        jump_unless(R2, _socket.AF_INET6, otherwise),
        load32(R2, R6, _PROTOCOL),
        jump_unless(R2, _socket.IPPROTO_TCP, otherwise),
    ]


def _find_prefix(prefixes: int, otherwise: str) -> Code:
    """R0 = where the slot for the destination's prefix is."""
    key = -24
    address: Code = []
    for word in range(0, 16, 4):
        address += [load32(R2, R6, _LOCAL_IP6 + word), store32(STACK, key + 4 + word, R2)]
    return [
        store32_value(STACK, key, 128),
        *address,
        load_map(R1, prefixes),
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


def _assign(listeners: int, otherwise: str) -> Code:
    """Choose the listener in the slot that R7 points to.

    Without flags: what an earlier program chose stays, and a reuseport group has its say.
    """
    return [
        load_map(R1, listeners),
        copy(R2, R7),
        call(_MAP_LOOKUP_ELEM),
        jump_if(R0, 0, otherwise),
        *_choose(flags=0),
    ]


def _choose(flags: int) -> Code:
    """Choose the listener in R0, and let go of it."""
    return [
        copy(R7, R0),
        copy(R1, R6),
        copy(R2, R7),
        put(R3, flags),
        call(_SK_ASSIGN),
        copy(R1, R7),
        call(_SK_RELEASE),
    ]
