"""ARP as a host that checks its addresses uses it: probes, announcements, and what others send.

RFC 5227 has the words: a probe asks for an address without claiming it, an announcement claims it.
"""

from __future__ import annotations

import _socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.process.capabilities import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPABILITIES = ("CAP_NET_RAW",)

_ETH_P_ARP, _ETH_P_IP = 0x0806, 0x0800
_ETHERNET = 1
_REQUEST = 1
_OUTGOING = 4  # of a packet's type: sent by this host
_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_NOBODY, _EVERYBODY = bytes(6), b"\xff" * 6
_BATCH = 256
"""Packets that are read at a time, before others have their turn."""


class Claim(NamedTuple):
    """An IPv4 *address* (32 bits) that the link address *by* claims on *interface*, a name.

    If it is *probing*, it asks before it claims the address.
    """

    interface: str
    address: int
    by: bytes
    probing: bool = False

    def __str__(self) -> str:
        address = _socket.inet_ntoa(self.address.to_bytes(4, "big"))
        does = "about to be claimed" if self.probing else "answered for"
        return f"{address} is {does} by {self.by.hex(':')} on {self.interface}"


class ArpSocket:
    """A socket that sends and receives ARP on every Ethernet interface.

    Wait until ``fileno()`` is readable, then call `claims`.  Raises SetupError.
    """

    def __init__(self) -> None:
        try:
            self._socket = _socket.socket(
                _socket.AF_PACKET,
                _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK,
                _socket.htons(_ETH_P_ARP),
            )
        except OSError as error:
            raise refusal("look for duplicate addresses", error, *CAPABILITIES) from error

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def probe(self, interface: str, address: int) -> None:
        """Ask who has *address*, as nobody (RFC 5227 §2.1.1).  Raises OSError."""
        self._send(interface, 0, address)

    def announce(self, interface: str, address: int) -> None:
        """Tell everybody on the link that *address* is here (RFC 5227 §2.3).  Raises OSError."""
        self._send(interface, address, address)

    def _send(self, interface: str, sender: int, target: int) -> None:
        packet = _PACKET.pack(
            _ETHERNET,
            _ETH_P_IP,
            6,
            4,
            _REQUEST,
            link_address(interface),
            sender.to_bytes(4, "big"),
            _NOBODY,
            target.to_bytes(4, "big"),
        )
        self._socket.sendto(packet, (interface, _ETH_P_ARP, 0, 0, _EVERYBODY))

    def claims(self, *, probes: bool = False) -> Iterator[Claim]:
        """Return what other hosts have claimed since the last call, up to a batch of packets.

        With *probes* those that are going to claim are among them.
        """
        for _ in range(_BATCH):
            try:
                data, (interface, _, kind, *_) = self._socket.recvfrom(256)
            except OSError:  # nothing more, or an interface went down
                return
            if kind == _OUTGOING or len(data) < _PACKET.size:
                continue
            hardware, protocol, _, _, _, by, sender, _, target = _PACKET.unpack_from(data)
            if (hardware, protocol) == (_ETHERNET, _ETH_P_IP):
                probing = sender == bytes(4)
                address = int.from_bytes(target if probing else sender, "big")
                if probes or not probing:
                    yield Claim(interface, address, by, probing)


def link_address(interface: str) -> bytes:
    """Return the Ethernet address of *interface*.  Raises OSError when it has none."""
    sock = _socket.socket(_socket.AF_PACKET, _socket.SOCK_DGRAM, 0)
    try:
        sock.bind((interface, 0))
        address = sock.getsockname()[4]
    finally:
        sock.close()
    if len(address) != 6:
        raise OSError(f"{interface} has no Ethernet address")
    return bytes(address)
