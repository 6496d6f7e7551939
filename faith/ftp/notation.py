"""FTP's notations of an address and a port: three, none like another.

short
    ``192,0,2,31,20,162``: PORT and the reply 227 (RFC 959 §4.1.2)
long
    ``6,16,32,1,13,184,…,2,20,162``: LPRT and 228 (RFC 1639 §2)
extended
    ``|2|2001:db8:2::31|5282|``: EPRT and, with the port only, 229 (RFC 2428 §2)
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

NET_PRT = {4: b"1", 6: b"2"}
"""The numbers that RFC 2428 has for the IP versions; RFC 1639 takes the versions themselves."""

_OCTETS = {4: 4, 6: 16}
_LIST = re.compile(rb"\d+(?: *, *\d+)*")
_IN_229 = re.compile(rb"\(([!-~])\1\1(\d{1,5})\1\)")


class Endpoint(NamedTuple):
    """One end of a data connection: IP version, address as a number, port."""

    version: int
    address: int
    port: int


class OtherVersion(ValueError):
    """An address is of another IP version, or of another protocol altogether."""


def read_short(text: bytes, version: int = 4) -> Endpoint:
    """The six numbers of a PORT; raises ValueError."""
    numbers = _numbers(text)
    if len(numbers) != 6:
        raise ValueError("not six numbers")
    return Endpoint(version, _number(numbers[:4]), _port(_number(numbers[4:])))


def read_long(text: bytes, version: int) -> Endpoint:
    """The numbers of an LPRT, of IP *version*; raises ValueError, or OtherVersion."""
    numbers = _numbers(text)
    if numbers[0] != version:
        raise OtherVersion(f"address family {numbers[0]}")
    end = 2 + _OCTETS[version]
    if len(numbers) != end + 3 or numbers[1] != _OCTETS[version] or numbers[end] != 2:
        raise ValueError("the lengths are wrong")
    return Endpoint(version, _number(numbers[2:end]), _port(_number(numbers[end + 1 :])))


def read_extended(text: bytes, version: int) -> Endpoint:
    """The fields of an EPRT, of IP *version*; raises ValueError, or OtherVersion."""
    fields = text.split(text[:1]) if text else []
    if len(fields) != 5 or fields[0] or fields[4]:
        raise ValueError("not three fields")
    _, protocol, address, port, _ = fields
    if protocol != NET_PRT[version]:
        raise OtherVersion("another network protocol")
    if not re.fullmatch(rb"\d{1,5}", port):
        raise ValueError("not a port")
    return Endpoint(version, _address(address, version), _port(int(port)))


def _numbers(text: bytes) -> bytes:
    """The octets of a list of numbers."""
    words = text.split(b",")
    if not all(re.fullmatch(rb"\d{1,3}", word) for word in words):
        raise ValueError("not a list of numbers")
    return bytes(map(int, words))  # raises ValueError


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _port(port: int) -> int:
    if not 0 < port < 65536:
        raise ValueError("not a port")
    return port


def _address(text: bytes, version: int) -> int:
    if version == 4:
        return int(IPv4Address(text.decode("ascii")))
    address = IPv6Address(text.decode("ascii"))
    if address.scope_id is not None:
        raise ValueError("a zone, which RFC 2428 does not have")
    return int(address)


def port_of_227(text: bytes) -> int | None:
    """The port in the reply to a PASV, with parentheses or without (RFC 1123 §4.1.2.6)."""
    for numbers in _LIST.findall(text):
        with suppress(ValueError):
            return read_short(numbers.replace(b" ", b"")).port
    return None


def port_of_229(text: bytes) -> int | None:
    """The port in the reply to an EPSV."""
    for _, port in _IN_229.findall(text):
        with suppress(ValueError):
            return _port(int(port))
    return None


def write_short(endpoint: Endpoint) -> str:
    """As PORT and 227 have it."""
    return _list(endpoint.address.to_bytes(4, "big") + endpoint.port.to_bytes(2, "big"))


def write_long(endpoint: Endpoint) -> str:
    """As LPRT and 228 have it."""
    size = _OCTETS[endpoint.version]
    address = endpoint.address.to_bytes(size, "big")
    return _list([endpoint.version, size, *address, 2, *endpoint.port.to_bytes(2, "big")])


def write_extended(endpoint: Endpoint) -> str:
    """As EPRT has it."""
    write = IPv4Address if endpoint.version == 4 else IPv6Address
    protocol = NET_PRT[endpoint.version].decode()
    return f"|{protocol}|{write(endpoint.address)}|{endpoint.port}|"


def _list(octets: Iterable[int]) -> str:
    return ",".join(map(str, octets))
