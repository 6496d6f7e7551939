"""Addresses of SOCKS5: type, host and port in octets (RFC 1928 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.errors import FaithError
from faith.proxy.asked_target import endpoint, packed_endpoint
from faith.translation import address

if TYPE_CHECKING:
    from faith.proxy.proxy_events import Target

_IPV4, _NAME, _IPV6 = 1, 3, 4
_SIZES = {_IPV4: 4, _IPV6: 16}
_PORT = 2
_MAPPED = bytes(10) + b"\xff\xff"


class UnknownAddressType(FaithError):
    """An address of a type other than IPv4, IPv6 and a name."""


def read(octets: bytes | bytearray, start: int) -> tuple[Target, int] | None:
    """Return the target whose type stands at *start*, and where what follows it begins.

    Return None while octets of it are missing.  Raises UnknownAddressType, and BadTarget.
    """
    if len(octets) <= start:
        return None
    kind = octets[start]
    begin = start + 1
    if kind == _NAME:
        if len(octets) <= begin:
            return None
        end = begin + 1 + octets[begin]
        begin += 1
    elif kind in _SIZES:
        end = begin + _SIZES[kind]
    else:
        raise UnknownAddressType(f"address type {kind} is not 1 (IPv4), 3 (a name) or 4 (IPv6)")
    if len(octets) < end + _PORT:
        return None
    host, port = bytes(octets[begin:end]), int.from_bytes(octets[end : end + _PORT], "big")
    found = endpoint(host, port) if kind == _NAME else packed_endpoint(host, port)
    return found, end + _PORT


def end_of_name(octets: bytes | bytearray, start: int) -> int:
    """Return where what follows the whole name begins whose type stands at *start*."""
    return start + 2 + octets[start + 1] + _PORT


def made(host: str, port: int) -> bytes:
    """Return the octets of the address *host*, in text, and *port*; IPv4-mapped is IPv4.

    Raises OSError for a name.
    """
    packed = address.packed(host)
    packed = packed.removeprefix(_MAPPED)
    kind = _IPV4 if len(packed) == 4 else _IPV6
    return bytes((kind,)) + packed + port.to_bytes(_PORT, "big")
