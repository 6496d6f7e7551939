"""The operator's settings for relayed connections."""

from __future__ import annotations

from dataclasses import dataclass

from faith.relay.tcp.admission import NO_LIMITS, Limits
from faith.translation.ports import ALL_PORTS, NO_PORTS, Ports
from faith.translation.proxy import V1, V2

FTP = Ports([(21, 21)])
CLIENT, GATEWAY, EITHER = V4_TO_V6_SOURCES = "client", "gateway", "either"
"""The source addresses by which IPv6 servers may see clients of IPv4.

An address that stands for the client, without which it is refused; the gateway's own; or that where
there is none for the client.
"""


@dataclass(frozen=True)
class Settings:
    """The operator's settings; times in seconds, 0 for no limit.

    *limits* hold where the relay has the tables for them, its *admission*.  Idle sessions live 2 h
    4 min, RFC 5382 REQ-5's shortest (KAME's faithd: 30 min).  Connections to the ports in *ftp*,
    *rsh* and *rlogin* are served as these protocols require.  *reserved_port* is KAME's ``-p``.
    The PROXY protocol introduces the client to servers at the ports in *proxy_v1* and *proxy_v2*.

    For clients of IPv4, *v4_to_v6_ftp* are the servers' ports of FTP, *v4_to_v6_source* is one of
    `V4_TO_V6_SOURCES`, and *v4_to_v6_proxy* is the version of the PROXY protocol that servers
    expect.
    """

    connect_timeout: float = 10.0
    idle_timeout: float = 7440.0
    half_closed_timeout: float = 300.0
    reserved_port: bool = False
    lifetime: float = 0.0
    limits: Limits = NO_LIMITS
    ftp: Ports = NO_PORTS
    rsh: Ports = NO_PORTS
    rlogin: Ports = NO_PORTS
    proxy_v1: Ports = NO_PORTS
    proxy_v2: Ports = NO_PORTS
    v4_to_v6_ftp: Ports = FTP
    v4_to_v6_source: str = CLIENT
    v4_to_v6_proxy: str | None = None

    @property
    def reserved(self) -> Ports:
        """The ports to which connections are made from a port below 1024."""
        return ALL_PORTS if self.reserved_port else self.rsh | self.rlogin

    @property
    def spoken_ports(self) -> frozenset[int]:
        """Return the ports whose protocol the relay takes part in, as a set.

        Every connection looks here, and ranges of ports are slow to search.
        """
        if self.v4_to_v6_proxy:
            return frozenset(ALL_PORTS)
        return frozenset((*self.ftp, *self.rsh, *self.proxy_v1, *self.proxy_v2, *self.v4_to_v6_ftp))

    def proxy(self, port: int) -> str | None:
        """The version of the PROXY protocol that servers at *port* expect, if any."""
        return V2 if port in self.proxy_v2 else V1 if port in self.proxy_v1 else None
