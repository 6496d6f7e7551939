"""The ping translator of one process: its sockets, read in batches, without a task or a
transport."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from faith.datagram.pace import Paces
from faith.datagram.ping.identifiers import TIMEOUT, Identifiers
from faith.datagram.ping.ping_counters import WARNINGS, PingCounters
from faith.datagram.ping.ping_v4_to_v6 import PingV4ToV6
from faith.datagram.ping.ping_v6_to_v4 import PingV6ToV4
from faith.datagram.raw_icmp import BATCH, RawIcmp
from faith.kernel.sockets.udp_sockets import is_own
from faith.translation.mtu import LEAST_MTU
from faith.translation.shares import CLIENT_LENGTH

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop, TimerHandle

    from faith.datagram.ping.ping_translation import PingTranslation
    from faith.kernel.netlink.packet_log import PacketLog
    from faith.translation.destination import Policy

log = logging.getLogger("faith.datagram")

_SWEEP = 1.0
"""Seconds."""
MOST_IDENTIFIERS = 1 << 15
"""Half of all identifiers, so that a free one is found soon."""


@dataclass(frozen=True)
class PingSettings:
    """Settings of ping: *timeout* is how many seconds an identifier is kept after its last
    request.

    *rate* and *rate_per_client* are requests a second, 0 for no limit.  *mtu* is the MTU of the
    IPv6 side in octets.  A client is an IPv4 address, or all IPv6 addresses with the first
    *client_length* bits in common.
    """

    timeout: float = TIMEOUT
    rate: float = 1000.0
    rate_per_client: float = 100.0
    mtu: int = LEAST_MTU
    client_length: int = CLIENT_LENGTH


class PingSockets(NamedTuple):
    """The sockets of ping: requests captured by nftables, and raw sockets for everything else.

    *pieces_v6* sends only.
    """

    requests: PacketLog
    v4: _socket.socket
    v6: _socket.socket
    pieces_v6: _socket.socket


class Ping:
    """The ping translator: sends echo requests on, and replies and errors back."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sockets: PingSockets,
        policy: Policy,
        settings: PingSettings,
        counters: PingCounters | None = None,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._icmp = RawIcmp(sockets.v4, sockets.v6, self._sent, sockets.pieces_v6, settings.mtu)
        self.counters = counters or PingCounters()
        length = settings.client_length
        self._paces = Paces(settings.rate, settings.rate_per_client, length)
        self.identifiers = Identifiers(settings.timeout, MOST_IDENTIFIERS, length)
        shared = policy, self.identifiers, self._paces, self.counters
        self._v6_to_v4, self._v4_to_v6 = PingV6ToV4(*shared), PingV4ToV6(*shared)
        self._serving = False
        self._sweeper: TimerHandle | None = None
        self.handover = IdentifierHandover(self)
        """The identifiers, for another process to continue with."""

    def serve(self) -> None:
        """Start to read; does nothing if it has started."""
        if self._serving:
            return
        self._serving = True
        requests, v4, v6, _ = self._sockets
        self._loop.add_reader(requests.fileno(), self._read_requests)
        self._loop.add_reader(v4.fileno(), self._read_v4)
        self._loop.add_reader(v6.fileno(), self._read_v6)

    def close(self) -> None:
        """Stop reading."""
        self._serving = False
        if self._sweeper:
            self._sweeper.cancel()
            self._sweeper = None
        for sock in self._sockets[:3]:
            self._loop.remove_reader(sock.fileno())

    def end(self) -> None:
        """Do nothing: pings leave no records."""

    @property
    def policy(self) -> Policy:
        """The policy that decides, which can be replaced at any time."""
        return self._v6_to_v4.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._v6_to_v4.policy = self._v4_to_v6.policy = policy

    def configure(self, settings: PingSettings) -> None:
        """Apply other *settings* from now on."""
        self._paces.limit(settings.rate, settings.rate_per_client, settings.client_length)
        self.identifiers.seconds = settings.timeout
        self.identifiers.length = settings.client_length
        self._icmp.mtu = settings.mtu

    def _read_requests(self) -> None:
        for octets, scope in self._sockets.requests.read(BATCH):
            if octets and octets[0] >> 4 == 6:
                self._ask(self._v6_to_v4, octets, scope)
            else:
                self._ask(self._v4_to_v6, octets, scope)
        if self._sweeper is None:
            self.sweep()
        else:
            self.counters.in_use(len(self.identifiers))

    def sweep(self) -> None:
        """Count the identifiers in use, now and once a second until there are none."""
        if self._sweeper:
            self._sweeper.cancel()
        self.identifiers.expire(self._loop.time())
        self.counters.in_use(len(self.identifiers))
        again = len(self.identifiers) > 0
        self._sweeper = self._loop.call_later(_SWEEP, self.sweep) if again else None

    def _ask(self, by: PingTranslation, octets: bytes, scope: int) -> None:
        send = by.translate_request(octets, scope, self._loop.time())
        if send is None:
            return
        try:
            self._icmp.send(send)
        except OSError as error:
            if send.v6 == by.far.is_v6:  # and no error for the client
                lacks = not send.v6 and send.source is not None and not is_own(send.source)
                self._icmp.attempt(by.report_unsent(octets, scope, error, lacks_source=lacks))

    def _read_v4(self) -> None:
        for packet in self._icmp.packets_v4():
            self._icmp.attempt(self._v6_to_v4.translate_reply(packet, self._loop.time()))

    def _read_v6(self) -> None:
        for packet in self._icmp.packets_v6():
            self._icmp.attempt(self._v4_to_v6.translate_reply(packet, self._loop.time()))

    def _sent(self, leg: str, dropped: bool) -> None:
        """Report a change: a firewall of the gateway that drops what is sent, or no longer."""
        if self.counters.blocked(leg, dropped) and dropped:
            log.warning("%s", WARNINGS[leg])


class IdentifierHandover:
    """The identifiers of *ping*, as a part of a hand-over to another process."""

    def __init__(self, ping: Ping) -> None:
        self._ping = ping
        self.left = True
        """True if they have yet to be given."""

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """Return all identifiers in one lot."""
        if not self.left:
            return [], []
        self.left = False
        return [self._ping.identifiers.dumps()], []

    def adopt(self, states: list[Any], descriptors: list[int]) -> None:
        """Adopt the identifiers, and start to serve."""
        for identifiers in states:
            self._ping.identifiers.load(identifiers)
        self._ping.serve()
        self._ping.sweep()
