"""What TCP's urgent pointer pointed to, as seen on a host's link."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.lab import Host

_ETH_P_IP = 0x0800
_URG = 0x20


class UrgentWatch:
    """Watches the IPv4 segments that arrive on *host* for *port*, from now on."""

    def __init__(self, host: Host, port: int) -> None:
        self._port = port
        self._socket = host.call(self._open)

    @staticmethod
    def _open() -> socket.socket:
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))

    def bytes_seen(self) -> bytes:
        """The urgent bytes of all segments up to now, in their order."""
        seen = bytearray()
        self._socket.setblocking(False)
        while packet := self._next():
            seen += self._urgent_byte(packet[4 * (packet[0] & 15) :])
        return bytes(seen)

    def close(self) -> None:
        """End the watch."""
        self._socket.close()

    def _next(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except BlockingIOError:
            return b""

    def _urgent_byte(self, segment: bytes) -> bytes:
        port, offset, flags, pointer = struct.unpack_from("!2xH8xBB4xH", segment)
        if port != self._port or not flags & _URG:
            return b""
        payload = segment[4 * (offset >> 4) :]
        return payload[pointer - 1 : pointer]  # it points past the byte: RFC 6093 section 2.1
