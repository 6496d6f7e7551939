"""Rules of the legacy iptables, made as that program makes them, which is not needed for it."""

from __future__ import annotations

import ctypes
import socket
import struct
from ipaddress import ip_address

_IP6T, _IPT = socket.IPPROTO_IPV6, socket.IPPROTO_IP
_SET_REPLACE, _GET_INFO = 64, 64  # linux/netfilter_ipv6/ip6_tables.h, and ip_tables.h
_ACCEPT, _DROP = -2, -1
_HOOKS = {1: "INPUT", 2: "FORWARD", 3: "OUTPUT"}


_LEGACY_MATCH = {16: 136, 4: 84}
"""The size of what an entry matches, by the size of an address."""


def replace(hook: str, destination: str) -> None:
    """Have the table ``filter`` hold one rule in *hook*, or none, and accept all else."""
    network, length = destination.split("/")
    entries = b""
    starts, policies = [0] * 5, [0] * 5
    for number, name in _HOOKS.items():
        starts[number] = len(entries)
        if name == hook:
            entries += _legacy_entry(network, length, _DROP)
        policies[number] = len(entries)
        entries += _legacy_entry(network, 0, _ACCEPT)
    entries += _legacy_entry(network, 0, None)
    counters = ctypes.create_string_buffer(16 * 16)
    head = struct.pack("32sIII", b"filter", 0b01110, len(_HOOKS) + bool(hook) + 1, len(entries))
    head += struct.pack("10I", *starts, *policies)
    family, level = (socket.AF_INET6, _IP6T) if ":" in network else (socket.AF_INET, _IPT)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        present = _legacy_count(sock, level)
        head += struct.pack("=IQ", present, ctypes.addressof(counters))
        sock.setsockopt(level, _SET_REPLACE, head + entries)


def _legacy_count(sock: socket.socket, level: int) -> int:
    """Return how many entries the table has, which this makes if it is not there."""
    found = ctypes.create_string_buffer(b"filter", 84)
    size = ctypes.c_uint(84)
    get = ctypes.CDLL(None, use_errno=True).getsockopt
    if get(sock.fileno(), level, _GET_INFO, found, ctypes.byref(size)):
        raise OSError(ctypes.get_errno(), "this kernel has no tables of the old iptables")
    return int(struct.unpack_from("I", found, 76)[0])


def _legacy_entry(network: str, length: str | int, verdict: int | None) -> bytes:
    """Return a struct ip6t_entry or ipt_entry and its target; without *verdict*, the table's end.

    It matches packets to *network*; of *length* 0, all.
    """
    packed = ip_address(network).packed
    bits, at = len(packed) * 8, len(packed)
    mask = ((1 << bits) - (1 << bits - int(length))).to_bytes(at, "big")
    match = bytearray(_LEGACY_MATCH[at])
    # source, destination, and the masks of both
    match[at : 2 * at], match[3 * at : 4 * at] = (packed if int(length) else bytes(at)), mask
    if verdict is None:
        target = struct.pack("=H29sx32s", 64, b"ERROR", b"ERROR")
    else:
        target = struct.pack("=H29sxi4x", 40, b"", verdict)
    begin = (len(match) + 28 + 7) // 8 * 8
    middle = struct.pack("=IHHI16x", 0, begin, begin + len(target), 0)
    return (bytes(match) + middle).ljust(begin, b"\0") + target
