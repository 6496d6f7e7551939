"""The PROXY protocol, versions 1 and 2: a header in front of the stream that names the client.

The specification is HAProxy's (haproxy.org/download/3.0/doc/proxy-protocol.txt).  It has no room
for two families in one header, so the destination in it is the address the client connected to.
"""

from __future__ import annotations

import struct

from faith.translation.address import packed, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    Endpoint = tuple[str, int]
    """An IPv4 or IPv6 address as text, with or without a zone, and a port."""

V1, V2 = "v1", "v2"
VERSIONS = (V1, V2)

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY = 0x21  # version 2, command PROXY; LOCAL is for a proxy's own health checks
_STREAM = 1
_HEAD = struct.Struct(">12sBBH")
_PORTS = struct.Struct(">HH")


def header(version: str, client: Endpoint, destination: Endpoint) -> bytes:
    """Return the header for a TCP connection from *client* to *destination*, of one family."""
    source, target = packed(client[0]), packed(destination[0])
    ports = client[1], destination[1]
    is_v6 = len(source) == 16
    if version == V1:
        family = "TCP6" if is_v6 else "TCP4"
        return f"PROXY {family} {text(source)} {text(target)} {ports[0]} {ports[1]}\r\n".encode()
    addresses = source + target + _PORTS.pack(*ports)
    family_and_kind = (2 if is_v6 else 1) << 4 | _STREAM
    return _HEAD.pack(_SIGNATURE, _PROXY, family_and_kind, len(addresses)) + addresses
