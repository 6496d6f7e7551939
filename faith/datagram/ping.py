"""Ping served: its sockets, read in batches, without a task or a transport."""

from __future__ import annotations

import _socket
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from faith.datagram.identifiers import TIMEOUT, Identifiers
from faith.datagram.inward import Inward
from faith.datagram.outward import Outward
from faith.datagram.pace import Paces
from faith.datagram.packet import ICMPV6, Packet
from faith.datagram.ping_counters import Counters

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

    from faith.datagram.send import Send
    from faith.kernel.packet_log import PacketLog
    from faith.translation.destination import Policy

T = TypeVar("T")

log = logging.getLogger("faith.ping")

MOST_IDENTIFIERS = 1 << 15
"""Half of all there are: one that is free is found soon."""

_BATCH = 64
"""Packets of a socket that are read before the others have their turn."""
_LARGEST = 1 << 16
_ROOM = 256  # for control messages
_PKTINFO_V4 = struct.Struct("=iII")  # struct in_pktinfo: interface, our address, unused here
_PKTINFO_V6 = struct.Struct("=16si")
_INT = struct.Struct("=i")
_IP_PKTINFO, _IP_TTL, _IP_TOS = 8, 2, 1


@dataclass(frozen=True)
class Settings:
    """*timeout*: seconds that an identifier is kept after its last request.

    *rate* and *rate_per_client* are requests a second, 0 for no limit; a client is an IPv6 /64 or
    an IPv4 address.
    """

    timeout: float = TIMEOUT
    rate: float = 1000.0
    rate_per_client: float = 100.0


class Sockets(NamedTuple):
    """What ping takes: requests that nftables hands over, and raw sockets for all else."""

    requests: PacketLog
    v4: _socket.socket
    v6: _socket.socket


class Ping:
    """Answers echo requests for servers that answer them."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sockets: Sockets,
        policy: Policy,
        settings: Settings,
        counters: Counters | None = None,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self.counters = counters or Counters()
        self._paces = Paces(settings.rate, settings.rate_per_client)
        self.identifiers = Identifiers(settings.timeout, MOST_IDENTIFIERS)
        shared = policy, self.identifiers, self._paces, self.counters
        self._outward, self._inward = Outward(*shared), Inward(*shared)
        self._serving = False
        self.lent = Lent(self)
        """What another process can go on with."""

    def serve(self) -> None:
        """Begin to read, unless it has begun."""
        if self._serving:
            return
        self._serving = True
        requests, v4, v6 = self._sockets
        self._loop.add_reader(requests.fileno(), self._read_requests)
        self._loop.add_reader(v4.fileno(), self._read_v4)
        self._loop.add_reader(v6.fileno(), self._read_v6)

    def close(self) -> None:
        """Read no more."""
        self._serving = False
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())

    @property
    def policy(self) -> Policy:
        """What decides; it can be replaced at any time."""
        return self._outward.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._outward.policy = self._inward.policy = policy

    def configure(self, settings: Settings) -> None:
        """Go by other *settings* from now on."""
        self._paces.limit(settings.rate, settings.rate_per_client)
        self.identifiers.seconds = settings.timeout

    def _read_requests(self) -> None:
        for octets, scope in self._sockets.requests.read(_BATCH):
            if octets and octets[0] >> 4 == 6:
                self._ask_v4(octets, scope)
            else:
                self._ask_v6(octets)
        self.counters.lent(len(self.identifiers))

    def _ask_v4(self, octets: bytes, scope: int) -> None:
        send = self._outward.asked(octets, scope, self._loop.time())
        try:
            self._send(send)
        except OSError as error:
            if send and not send.v6:
                self._try(self._outward.unsent(octets, scope, error))

    def _ask_v6(self, octets: bytes) -> None:
        send = self._inward.asked(octets, self._loop.time())
        try:
            self._send(send)
        except OSError as error:
            if send and send.v6:
                self._try(self._inward.unsent(octets, error))

    def _read_v4(self) -> None:
        for octets in _packets(lambda: self._sockets.v4.recv(_LARGEST)):
            self._try(self._outward.heard(octets, self._loop.time()))

    def _read_v6(self) -> None:
        for packet in _packets(lambda: _receive_v6(self._sockets.v6)):
            self._try(self._inward.heard(packet, self._loop.time()))

    def _try(self, send: Send | None) -> None:
        """Send it, if there is anything; what comes of it is nobody's to know."""
        try:
            self._send(send)
        except OSError as error:
            log.debug("%r: %s", send, error.strerror)

    def _send(self, send: Send | None) -> None:
        if send is None:
            return
        if send.v6:
            to = _socket.inet_ntop(_socket.AF_INET6, send.to.to_bytes(16, "big"))
            address = to, 0, 0, send.scope
            self._sockets.v6.sendmsg([send.message], _control_v6(send), 0, address)
        else:
            to = _socket.inet_ntoa(send.to.to_bytes(4, "big"))
            self._sockets.v4.sendmsg([send.message], _control_v4(send), 0, (to, 0))


class Lent:
    """The identifiers of *ping*, for the ping of another process to go on with."""

    def __init__(self, ping: Ping) -> None:
        self._ping = ping
        self.left = True
        """Whether they have not been given yet."""

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """All of them in one lot."""
        if not self.left:
            return [], []
        self.left = False
        return [self._ping.identifiers.dumps()], []

    def take(self, states: list[Any], descriptors: list[int]) -> None:
        """Go on with them, and serve."""
        for identifiers in states:
            self._ping.identifiers.load(identifiers)
        self._ping.serve()


def _packets(receive: Callable[[], T]) -> Iterator[T]:
    """What can be received without waiting, up to a batch."""
    for _ in range(_BATCH):
        try:
            yield receive()
        except BlockingIOError:
            return
        except OSError as error:  # about something that was sent; what matters comes as ICMP too
            log.debug("%s", error.strerror)


def _receive_v6(sock: _socket.socket) -> Packet:
    """An ICMPv6 message, with what the kernel says of its packet."""
    payload, control, _, (source, *_) = sock.recvmsg(_LARGEST, _ROOM)
    told = {kind: value for _, kind, value in control}
    destination, _ = _PKTINFO_V6.unpack(told[_socket.IPV6_PKTINFO])
    (hops,) = _INT.unpack(told[_socket.IPV6_HOPLIMIT])
    (traffic_class,) = _INT.unpack(told[_socket.IPV6_TCLASS])
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
