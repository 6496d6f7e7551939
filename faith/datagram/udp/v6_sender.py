"""Sending UDP over IPv6 from any address, in packets that fit the MTU of the IPv6 side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram.fragments import fragments, room
from faith.datagram.packet import UDP
from faith.datagram.udp.message import datagram
from faith.kernel.sockets.udp_sockets import HEADER, header

if TYPE_CHECKING:
    import _socket

    from faith.kernel.sockets.packet_info import Control

    Endpoint = tuple[int, int]
    """An IPv6 address, as a number, and a port."""
    SocketAddress = tuple[str, int] | tuple[str, int, int, int]


class V6Sender:
    """Sends datagrams by the raw socket *whole*, and what is too large for *mtu* by *pieces*.

    The kernel makes fragments of what is larger than the path's MTU, as far as it knows that; a
    smaller MTU on the way it learns by Packet Too Big, which may get lost.
    """

    def __init__(self, whole: _socket.socket, pieces: _socket.socket, mtu: int) -> None:
        self._whole = whole
        self._pieces = pieces
        self.limit(mtu)

    def limit(self, mtu: int) -> None:
        """Send no packet above *mtu* octets from now on."""
        self._mtu = mtu
        self._most = room(mtu) - HEADER

    def send(
        self,
        payload: bytes,
        source: Endpoint,
        destination: Endpoint,
        control: Control,
        to: SocketAddress,
    ) -> None:
        """Send *payload* between two endpoints, with the control messages that name the source.

        *to* is the destination's address for sendmsg(2), without the port.  Raises OSError.
        """
        length = len(payload)
        if length <= self._most:
            message = [header(source[1], destination[1], length), payload]
            self._whole.sendmsg(message, control, 0, to)
            return
        octets = b"".join(datagram(source, destination, payload))
        for piece in fragments(UDP, octets, self._mtu):
            self._pieces.sendmsg([piece], control, 0, to)
