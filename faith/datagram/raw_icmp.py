"""ICMP and ICMPv6 input and output, by a raw socket each."""

from __future__ import annotations

import _socket
import errno
import logging
import struct
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from faith.datagram.checksum import checksum, pseudo_v6
from faith.datagram.fragments import fragments, room
from faith.datagram.packet import ICMPV6, Packet, read_v4
from faith.kernel.sockets.packet_info import control
from faith.translation.address import V4, V6, from_packed, number, packed4, packed6, text4, text6
from faith.translation.mtu import MOST_MTU

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.datagram.send import Send

T = TypeVar("T")

log = logging.getLogger("faith.datagram")

BATCH = 64
"""Packets read from a socket before others have their turn."""
_LARGEST = 1 << 16
_ROOM = 256  # for control messages
_PKTINFO_V6 = struct.Struct("=16si")
_INT = struct.Struct("=i")


class RawIcmp:
    """Sends and receives on the sockets *v4* and *v6*, of `faith.kernel.sockets.icmp_sockets`.

    *sent* is called after each attempt to send, with the leg, "v4" or "v6", and whether the host's
    own firewall dropped the message.  With *pieces*, a `piece_sender`, IPv6 packets larger than
    *mtu* octets are sent as fragments by it.
    """

    def __init__(
        self,
        v4: _socket.socket,
        v6: _socket.socket,
        sent: Callable[[str, bool], None] = lambda leg, dropped: None,
        pieces: _socket.socket | None = None,
        mtu: int = MOST_MTU,
    ) -> None:
        self._v4 = v4
        self._v6 = v6
        self._sent = sent
        self._pieces = pieces
        self.mtu = mtu
        """Octets of the largest IPv6 packet, which may be changed at any time."""

    def send(self, send: Send) -> None:
        """Send a message.  Raises OSError."""
        leg = "v6" if send.v6 else "v4"
        try:
            self._send(send)
        except OSError as error:
            if error.errno == errno.EPERM:  # a rule of the output hook
                self._sent(leg, True)
            raise
        self._sent(leg, False)

    def _send(self, send: Send) -> None:
        v6, source, to, message, hops, traffic_class, scope = send
        if v6:
            how = control(V6, None if source is None else packed6(source), hops, traffic_class)
            there = text6(to), 0, 0, scope
            if self._pieces is None or source is None or len(message) <= room(self.mtu):
                self._v6.sendmsg([message], how, 0, there)
                return
            for piece in fragments(ICMPV6, _checked(message, source, to), self.mtu):
                self._pieces.sendmsg([piece], how, 0, there)
        else:
            how = control(V4, None if source is None else packed4(source), hops, traffic_class)
            self._v4.sendmsg([message], how, 0, (text4(to), 0))

    def attempt(self, send: Send | None) -> None:
        """Send a message, if there is one; errors are only logged."""
        try:
            if send is not None:
                self.send(send)
        except OSError as error:
            log.debug("%r: %s", send, error.strerror)

    def packets_v4(self) -> Iterator[Packet]:
        """Return received ICMP packets, up to a batch."""
        return filter(None, map(read_v4, received(partial(self._v4.recv, _LARGEST))))

    def packets_v6(self) -> Iterator[Packet]:
        """Return received ICMPv6 packets, up to a batch."""
        return received(partial(_receive_v6, self._v6))


def _checked(message: bytes, source: int, to: int) -> bytes:
    """Return an ICMPv6 message with its checksum, which the kernel does not add to fragments."""
    pseudo = pseudo_v6(source, to, len(message), ICMPV6)
    found = checksum(message[:2] + bytes(2) + message[4:], pseudo)
    return message[:2] + found.to_bytes(2, "big") + message[4:]


def received(receive: Callable[[], T]) -> Iterator[T]:
    """Call *receive* until it would wait, up to a batch."""
    for _ in range(BATCH):
        try:
            yield receive()
        except BlockingIOError:
            return
        except OSError as error:  # about a packet sent before; what matters comes as ICMP too
            log.debug("%s", error.strerror)


def _receive_v6(sock: _socket.socket) -> Packet:
    """Receive one ICMPv6 message, as a packet with what the kernel reports about it."""
    payload, control, _, (source, *_) = sock.recvmsg(_LARGEST, _ROOM)
    attrs = {kind: value for _, kind, value in control}
    destination, _ = _PKTINFO_V6.unpack(attrs[_socket.IPV6_PKTINFO])
    (hops,) = _INT.unpack(attrs[_socket.IPV6_HOPLIMIT])
    (traffic_class,) = _INT.unpack(attrs[_socket.IPV6_TCLASS])
    return Packet(
        number(source),
        from_packed(destination),
        hops,
        traffic_class,
        ICMPV6,
        len(payload),
        payload,
    )
