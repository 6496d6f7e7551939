"""ICMP and ICMPv6 input and output, by a raw socket each."""

from __future__ import annotations

import _socket
import errno
import logging
import struct
from typing import TYPE_CHECKING, TypeVar

from faith.datagram.packet import ICMPV6, Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.datagram.send import Send

T = TypeVar("T")

log = logging.getLogger("faith.datagram")

BATCH = 64
"""Packets read from a socket before others have their turn."""
_LARGEST = 1 << 16
_ROOM = 256  # for control messages
_PKTINFO_V4 = struct.Struct("=iII")  # struct in_pktinfo: interface, our address, unused here
_PKTINFO_V6 = struct.Struct("=16si")
_INT = struct.Struct("=i")
_IP_PKTINFO, _IP_TTL, _IP_TOS = 8, 2, 1


class RawIcmp:
    """Sends and receives on the sockets *v4* and *v6*, of `faith.kernel.sockets.icmp_sockets`.

    *sent* is called after each attempt to send, with the leg, "v4" or "v6", and whether the host's
    own firewall dropped the message.
    """

    def __init__(
        self,
        v4: _socket.socket,
        v6: _socket.socket,
        sent: Callable[[str, bool], None] = lambda leg, dropped: None,
    ) -> None:
        self._v4 = v4
        self._v6 = v6
        self._sent = sent

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
        if send.v6:
            to = _socket.inet_ntop(_socket.AF_INET6, send.to.to_bytes(16, "big"))
            address = to, 0, 0, send.scope
            self._v6.sendmsg([send.message], _control_v6(send), 0, address)
        else:
            to = _socket.inet_ntoa(send.to.to_bytes(4, "big"))
            self._v4.sendmsg([send.message], _control_v4(send), 0, (to, 0))

    def attempt(self, send: Send | None) -> None:
        """Send a message, if there is one; errors are only logged."""
        try:
            if send is not None:
                self.send(send)
        except OSError as error:
            log.debug("%r: %s", send, error.strerror)

    def packets_v4(self) -> Iterator[bytes]:
        """Return received IPv4 packets, whole, up to a batch."""
        return received(lambda: self._v4.recv(_LARGEST))

    def packets_v6(self) -> Iterator[Packet]:
        """Return received ICMPv6 packets, up to a batch."""
        return received(lambda: _receive_v6(self._v6))


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
        int.from_bytes(_socket.inet_pton(_socket.AF_INET6, source.partition("%")[0]), "big"),
        int.from_bytes(destination, "big"),
        hops,
        traffic_class,
        ICMPV6,
        len(payload),
        payload,
    )


def _control_v4(send: Send) -> list[tuple[int, int, bytes]]:
    control = []
    if send.source is not None:
        info = _PKTINFO_V4.pack(0, _socket.htonl(send.source), 0)
        control.append((_socket.IPPROTO_IP, _IP_PKTINFO, info))
    if send.hops:
        control.append((_socket.IPPROTO_IP, _IP_TTL, _INT.pack(send.hops)))
    if send.traffic_class:
        control.append((_socket.IPPROTO_IP, _IP_TOS, _INT.pack(send.traffic_class)))
    return control


def _control_v6(send: Send) -> list[tuple[int, int, bytes]]:
    control = []
    if send.source is not None:
        info = _PKTINFO_V6.pack(send.source.to_bytes(16, "big"), 0)
        control.append((_socket.IPPROTO_IPV6, _socket.IPV6_PKTINFO, info))
    if send.hops:
        hops = _INT.pack(send.hops)
        control.append((_socket.IPPROTO_IPV6, _socket.IPV6_HOPLIMIT, hops))
    if send.traffic_class:
        tclass = _INT.pack(send.traffic_class)
        control.append((_socket.IPPROTO_IPV6, _socket.IPV6_TCLASS, tclass))
    return control
