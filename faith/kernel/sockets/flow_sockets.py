"""The sockets of the kernel path: logs of packets handed over, and raw senders of both versions."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.descriptor import Descriptor
from faith.kernel.netlink.packet_log import PacketLog
from faith.kernel.sockets.icmp_sockets import CAPABILITIES as RAW
from faith.kernel.sockets.icmp_sockets import adopt as adopt_socket
from faith.kernel.sockets.icmp_sockets import icmp_socket, icmpv6_socket, raw_socket

if TYPE_CHECKING:
    from typing import Any, Self

CAPABILITIES = ("CAP_NET_ADMIN", *RAW)

_IPV6_HDRINCL = 36
_SEND_QUEUE = 1 << 20


class FlowSockets(NamedTuple):
    """The sockets of the kernel path.

    *syns* logs the SYNs that ask for a flow, *fallen* the packets of flows that the program could
    not translate.  *raw_v4* and *raw_v6* send packets with their IP header; *icmp_v4* and
    *icmp_v6* send errors.  None of the raw sockets receives anything.
    """

    syns: PacketLog
    fallen: PacketLog
    raw_v4: _socket.socket
    raw_v6: _socket.socket
    icmp_v4: _socket.socket
    icmp_v6: _socket.socket

    @classmethod
    def create(cls) -> Self:
        """Open the sockets.  Raises SetupError; nothing stays behind then."""
        opened: list[PacketLog | _socket.socket] = []
        try:
            logs = PacketLog.create(), PacketLog.create()
            opened += logs
            raw = sender_v4(), sender_v6()
            opened += raw
            icmp = icmp_socket(()), icmpv6_socket(())
        except BaseException:
            for one in opened:
                one.close()
            raise
        return cls(*logs, *raw, *icmp)

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the sockets whose `state` the predecessor process left."""
        syns, fallen, *others = state
        return cls(
            PacketLog.adopt(syns), PacketLog.adopt(fallen), *(adopt_socket(fd) for fd in others)
        )

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return [self.syns.state(), self.fallen.state(), *(Descriptor.of(one) for one in self[2:])]

    def close(self) -> None:
        """Close all descriptors."""
        for one in self:
            one.close()


def sender_v4() -> _socket.socket:
    """Return a raw socket that sends IPv4 packets with their header (IP_HDRINCL).

    The kernel fills in their length and checksum, and an identification of 0.  Raises SetupError.
    """
    return _sender(_socket.AF_INET)


def sender_v6() -> _socket.socket:
    """Return a raw socket that sends IPv6 packets with their header, from any address.

    Raises SetupError.
    """
    sock = _sender(_socket.AF_INET6)
    sock.setsockopt(_socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
    return sock


def _sender(family: int) -> _socket.socket:
    sock = raw_socket(family, _socket.IPPROTO_RAW)  # which no packet is received by
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _SEND_QUEUE)
    return sock
