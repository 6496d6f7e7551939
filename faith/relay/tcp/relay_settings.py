"""The operator's settings for relayed connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faith.relay.tcp.admission import NO_LIMITS, Limits
from faith.relay.tcp.routing import CLIENT
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.ports import ALL_PORTS, NO_PORTS, Ports
from faith.translation.proxy_protocol import V1, V2
from faith.translation.udp.flows import UdpSettings

if TYPE_CHECKING:
    from faith.translation.directions import Direction

FTP = Ports([(21, 21)])


@dataclass(frozen=True)
class V4ToV6Settings:
    """The settings of connections from IPv4 to IPv6.

    *ftp* are the servers' ports of FTP, *source* is one of `faith.relay.tcp.routing.SOURCES`, and
    *proxy* is the version of the PROXY protocol that servers expect.  *dscp* is as in `Settings`,
    for all ports.
    """

    ftp: Ports = FTP
    source: str = CLIENT
    proxy: str | None = None
    dscp: bool = False


@dataclass(frozen=True)
class Settings:
    """The operator's settings; times in seconds, 0 for no limit.

    *limits* hold where the relay has the tables for them, its *admission*.  Idle sessions live 2 h
    4 min, RFC 5382 REQ-5's shortest (KAME's faithd: 30 min).  Connections to the ports in *ftp*,
    *rsh* and *rlogin* are served as these protocols require.  *reserved_port* is KAME's ``-p``.
    The PROXY protocol introduces the client to servers at the ports in *proxy_v1* and *proxy_v2*.
    To those in *unencrypted_data*, encrypted FTP has no data connections.  Servers at the ports in
    *dscp* are connected with the DSCP of the client's connection.  All these ports are those of
    connections from IPv6 to IPv4; *v4_to_v6* has the others'.  Within *greeting_timeout* a client
    of a proxy has to say what it wants; the datagrams of a client of SOCKS are relayed by the times
    and limits in *datagrams*.
    """

    connect_timeout: float = 10.0
    idle_timeout: float = 7440.0
    half_closed_timeout: float = 300.0
    reserved_port: bool = False
    lifetime: float = 0.0
    limits: Limits = NO_LIMITS
    ftp: Ports = NO_PORTS
    unencrypted_data: Ports = NO_PORTS
    rsh: Ports = NO_PORTS
    rlogin: Ports = NO_PORTS
    proxy_v1: Ports = NO_PORTS
    proxy_v2: Ports = NO_PORTS
    dscp: Ports = NO_PORTS
    v4_to_v6: V4ToV6Settings = V4ToV6Settings()
    greeting_timeout: float = 30.0
    datagrams: UdpSettings = field(default_factory=UdpSettings)

    @property
    def reserved(self) -> Ports:
        """The ports to which connections are made from a port below 1024."""
        return ALL_PORTS if self.reserved_port else self.rsh | self.rlogin

    @property
    def spoken_ports(self) -> frozenset[int]:
        """Return the ports whose protocol the relay takes part in, as a set.

        Every connection looks here, and ranges of ports are slow to search.
        """
        if self.v4_to_v6.proxy:
            return frozenset(ALL_PORTS)
        return frozenset((*self.ftp, *self.rsh, *self.proxy_v1, *self.proxy_v2, *self.v4_to_v6.ftp))

    def ftp_ports(self, direction: Direction) -> Ports:
        """Return the servers' ports of FTP."""
        return self.ftp if direction is V6_TO_V4 else self.v4_to_v6.ftp

    def dscp_ports(self, direction: Direction) -> Ports:
        """Return the servers' ports to which DSCP is carried."""
        if direction is V6_TO_V4:
            return self.dscp
        return ALL_PORTS if self.v4_to_v6.dscp else NO_PORTS

    def proxy(self, direction: Direction, port: int) -> str | None:
        """Return the version of the PROXY protocol that servers at *port* expect, or None."""
        if direction is V4_TO_V6:
            return self.v4_to_v6.proxy
        return V2 if port in self.proxy_v2 else V1 if port in self.proxy_v1 else None
