"""IPv4 and IPv6 addresses in their three forms: number, packed octets and text.

A number has 32 bits (IPv4) or 128 (IPv6), packed octets are 4 or 16 in network byte order, and
text is as in RFC 5952.  Functions of one family end in 4 or 6; the others take both.  The C library
converts: connections and datagrams come by here, and ipaddress would be slow to import for inetd
mode.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton

V4, V6 = AF_INET, AF_INET6
"""The two families, as sockets number them: the keys of tables of what differs by family."""
ANY = {V4: "0.0.0.0", V6: "::"}
"""The address to bind to for all of the host's, as text."""

IPV4_MAPPED = 0xFFFF << 32
"""The network ::ffff:0:0/96, whose addresses stand for IPv4 ones (RFC 4291 §2.5.5.2)."""

from_packed = int.from_bytes
"""Return the number that packed octets are."""


def packed4(v4: int) -> bytes:
    """Return the 4 octets of an IPv4 address."""
    return v4.to_bytes(4, "big")


def packed6(v6: int) -> bytes:
    """Return the 16 octets of an IPv6 address."""
    return v6.to_bytes(16, "big")


def text4(v4: int, length: int = 32) -> str:
    """Return an IPv4 address as text, or a network of that prefix *length*, without ``/32``."""
    address = inet_ntoa(v4.to_bytes(4, "big"))
    return address if length == 32 else f"{address}/{length}"


def text6(v6: int, length: int = 128) -> str:
    """Return an IPv6 address as text, or a network of that prefix *length*, without ``/128``."""
    address = inet_ntop(AF_INET6, v6.to_bytes(16, "big"))
    return address if length == 128 else f"{address}/{length}"


def text_as_written(v6: int, length: int = 128) -> str:
    """Return a network of 128 bits as `text6` does, but as IPv4 where it is IPv4-mapped."""
    if length >= 96 and v6 >> 32 == IPV4_MAPPED >> 32:
        return text4(v6 & 0xFFFFFFFF, length - 96)
    return text6(v6, length)


def text(octets: bytes) -> str:
    """Return packed octets as text.  Raises ValueError unless there are 4 or 16."""
    return inet_ntop(AF_INET if len(octets) == 4 else AF_INET6, octets)


def family_of(address: str) -> int:
    """Return the family of an address, V4 or V6, from its text; nothing is checked."""
    return AF_INET6 if ":" in address else AF_INET


def packed(address: str) -> bytes:
    """Pack the text of an address; a zone (``%eth0``) is left out.  Raises OSError for others."""
    if ":" in address:
        return inet_pton(AF_INET6, address.partition("%")[0])
    return inet_pton(AF_INET, address)


def unmapped(address: str) -> str:
    """Return the text of the IPv4 address that an IPv4-mapped one is; any other as it is."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def number(address: str) -> int:
    """Parse the text of an address as `packed` does, and return its number.  Raises OSError."""
    if ":" in address:
        return from_packed(inet_pton(AF_INET6, address.partition("%")[0]))
    return from_packed(inet_pton(AF_INET, address))


def number6(address: str) -> int:
    """Parse as `number` does, but return 128 bits for IPv4 too: the IPv4-mapped address."""
    return number(address) if ":" in address else IPV4_MAPPED | number(address)
