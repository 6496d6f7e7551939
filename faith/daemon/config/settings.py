"""What one faithd is to do: its services, and all that goes for every one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from faith.daemon.observe.log import FORMS
from faith.daemon.observe.records import Recording
from faith.errors import ConfigError
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.ports import NO_PORTS, Ports
from faith.translation.sources import NO_SOURCES, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from faith.daemon.config.local_server import LocalServer
    from faith.datagram.ping.ping_server import Settings as PingSettings
    from faith.datagram.udp.flows import Settings as UdpSettings
    from faith.dns.service import Settings as DnsSettings
    from faith.translation.prefix import Prefix

ALGS = ("auto", "ftp", "rsh", "rlogin", "none")
"""What a service may know of its protocol.

"auto" is FTP on FTP's port, and rsh or rlogin on theirs if they are called by their names.
"""

_USUAL = {"ftp": Ports([(21, 21)]), "rsh": Ports([(514, 514)]), "rlogin": Ports([(513, 513)])}
_NAMES = {"rsh": {"shell", "cmd"}, "rlogin": {"login"}}  # those of services(5)


@dataclass(frozen=True)
class Service:
    """Ports that are relayed alike; *name* is what the operator called them.

    *local_server* serves connections to the gateway's own addresses.  Servers of these ports learn
    their client by that version of the PROXY protocol, if *proxy* says one.  Raises ConfigError.
    """

    name: str
    ports: Ports
    alg: str = "auto"
    local_server: LocalServer | None = None
    proxy: str | None = None

    def __post_init__(self) -> None:
        spoken = self.ftp | self.rsh
        if self.proxy and spoken:
            raise ConfigError(
                f"port {spoken} is relayed as FTP or rsh, whose servers make connections to their"
                ' client, so that they must not know another than us; with alg "none" they may'
            )

    def introduced(self, version: str) -> Ports:
        """Its ports whose servers speak that *version* of the PROXY protocol."""
        return self.ports if self.proxy == version else NO_PORTS

    @property
    def ftp(self) -> Ports:
        """Its ports that speak FTP."""
        return self._speaking("ftp")

    @property
    def rsh(self) -> Ports:
        """Its ports that speak rsh."""
        return self._speaking("rsh")

    @property
    def rlogin(self) -> Ports:
        """Its ports that speak rlogin."""
        return self._speaking("rlogin")

    def _speaking(self, protocol: str) -> Ports:
        if self.alg == protocol:
            return self.ports
        called = {part.strip() for part in self.name.split(",")}
        meant = protocol not in _NAMES or called & _NAMES[protocol]
        return self.ports & _USUAL[protocol] if self.alg == "auto" and meant else NO_PORTS


@dataclass(frozen=True)
class Settings:
    """What one faithd is to do; times in seconds.

    No port belongs to two *services*.  *prefixes* are those to set up for as long as it runs.
    *access_rules* go before *access_file*, which None makes the usual file, if it exists.
    *maps_file* is where those of the *maps* are that can be changed from outside.  *metrics* is the
    admin listener's address and port.  *sources* are what clients connect from where no rule says
    it.
    """

    services: tuple[Service, ...]
    via: str = "auto"
    prefixes: tuple[Prefix, ...] = ()
    access_file: Path | None = None
    access_rules: str | None = None
    maps: Maps = NO_MAPS
    maps_file: Path | None = None
    sources: Sources = NO_SOURCES
    workers: int = 1
    user: str = "nobody"
    drain_timeout: float = 5.0
    pid_file: Path | None = None
    control: Path | None = None
    log: str = FORMS[0]
    metrics: tuple[str, int] | None = None
    recording: Recording = field(default_factory=Recording)
    relay: RelaySettings = field(default_factory=RelaySettings)
    dns: DnsSettings | None = None
    dns_workers: int = 1
    ping: PingSettings | None = None
    udp: UdpSettings | None = None

    @property
    def name(self) -> str:
        """What the operator called the services; "maps" without any."""
        return ",".join(service.name for service in self.services) or "maps"

    @property
    def ports(self) -> Ports:
        """The ports of all services."""
        return union(service.ports for service in self.services)

    @property
    def local_ports(self) -> Ports:
        """The ports that have a local server."""
        return union(service.ports for service in self.services if service.local_server)

    def check_local_servers(self) -> None:
        """Raise SetupError for one that cannot be executed."""
        for service in self.services:
            if service.local_server:
                service.local_server.check()

    def local_server(self, port: int) -> LocalServer | None:
        """The one for connections to *port* of the gateway's own addresses."""
        for service in self.services:
            if port in service.ports:
                return service.local_server
        return None


def union(several: Iterable[Ports]) -> Ports:
    """All the ports of *several*."""
    return reduce(Ports.__or__, several, NO_PORTS)
