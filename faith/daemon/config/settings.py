"""The settings of one faithd: its services, and what is common to all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from faith.daemon.config.listener_access import EVERYBODY, AdminAccess
from faith.daemon.config.probe_settings import NO_PROBES, ProbeSettings
from faith.daemon.observe.log import FORMS
from faith.daemon.observe.records import Recording
from faith.dns.endpoint import Endpoint
from faith.errors import ConfigError
from faith.kernel.process.capabilities import default_user
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.ports import NO_PORTS, Ports
from faith.translation.ranges import without
from faith.translation.sources import NO_SOURCES, Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.daemon.config.local_server import LocalServer
    from faith.daemon.config.proxy_table import ProxyTls
    from faith.datagram.ping.ping_server import PingSettings
    from faith.dns.service import Settings as DnsSettings
    from faith.flow.flow_settings import FlowSettings
    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.translation.prefix import Prefix
    from faith.translation.udp.flows import UdpSettings

ALGS = ("auto", "ftp", "rsh", "rlogin", "none")
"""The protocols that a service may need help with.

"auto" is FTP on FTP's port, and rsh or rlogin on theirs if the service is named so.
"""

RELAY, KERNEL, AUTO = "relay", "kernel", "auto"
PATHS = (RELAY, KERNEL, AUTO)
"""How a connection goes: by the relay, by the kernel, or by the kernel where it can."""

REDIRECT = 'the steering method "redirect" changes where its packets go'
PRIVILEGED = "connections are to be made from ports below 1024"
"""Why nothing goes by the kernel path."""

_FTP, _RSH, _RLOGIN, _PROXY = "FTP", "rsh", "rlogin", "PROXY"
PINS = Path("/sys/fs/bpf")
"""Where Linux has the file system of BPF objects."""

_USUAL = {"ftp": Ports([(21, 21)]), "rsh": Ports([(514, 514)]), "rlogin": Ports([(513, 513)])}
_NAMES = {"rsh": {"shell", "cmd"}, "rlogin": {"login"}}  # the names in services(5)


@dataclass(frozen=True)
class Service:
    """Ports that are relayed alike; *name* is the operator's name for them.

    *local_server* serves connections to the gateway's own addresses.  *proxy* is the version of the
    PROXY protocol that the servers of these ports expect, or None.  With *encrypted_data* a client
    may connect to all ports above 1023 of a server while it has encrypted FTP there.  With *dscp*
    servers are connected with the DSCP of the client's connection.  *path* is one of `PATHS`.
    Raises ConfigError.
    """

    name: str
    ports: Ports
    alg: str = "auto"
    local_server: LocalServer | None = None
    proxy: str | None = None
    encrypted_data: bool = True
    dscp: bool = False
    path: str = RELAY

    def __post_init__(self) -> None:
        spoken = self.ftp | self.rsh
        if self.proxy and spoken:
            raise ConfigError(
                f"port {spoken} is relayed as FTP or rsh, whose servers make connections to their"
                ' client, so that they must not know another than us; with alg "none" they may'
            )
        if self.path == KERNEL:
            for ports, why in self.kept_by_relay():
                remedy = (
                    "leave proxy out"
                    if why == _PROXY
                    else 'make it a service of its own, or one with alg "none" if it is none'
                )
                raise ConfigError(
                    f"port {ports} cannot go by the kernel path, because {why} takes the relay;"
                    f' {remedy}, or choose the path "auto"'
                )

    def kept_by_relay(self) -> Iterator[tuple[Ports, str]]:
        """Yield the ports that never go by the kernel path, and why not."""
        spoken = {_FTP: self.ftp, _RSH: self.rsh, _RLOGIN: self.rlogin}
        yield from ((ports, why) for why, ports in spoken.items() if ports)
        if self.proxy:
            yield self.ports, _PROXY

    @property
    def kernel_ports(self) -> Ports:
        """The ports that can go by the kernel path, whether or not they are to."""
        kept = union(ports for ports, _ in self.kept_by_relay())
        return Ports(without(self.ports.ranges, kept.ranges))

    def introduced(self, version: str) -> Ports:
        """Return the ports whose servers expect that *version* of the PROXY protocol."""
        return self.ports if self.proxy == version else NO_PORTS

    @property
    def ftp(self) -> Ports:
        """The ports that speak FTP."""
        return self._speaking("ftp")

    @property
    def rsh(self) -> Ports:
        """The ports that speak rsh."""
        return self._speaking("rsh")

    @property
    def rlogin(self) -> Ports:
        """The ports that speak rlogin."""
        return self._speaking("rlogin")

    def _speaking(self, protocol: str) -> Ports:
        if self.alg == protocol:
            return self.ports
        called = {part.strip() for part in self.name.split(",")}
        meant = protocol not in _NAMES or called & _NAMES[protocol]
        return self.ports & _USUAL[protocol] if self.alg == "auto" and meant else NO_PORTS


@dataclass(frozen=True)
class KernelPath:
    """The settings of the kernel path: of its *flows*, and a directory for *pins*.

    In that directory, of a BPF file system, maps and links outlive a daemon that is killed.
    """

    flows: FlowSettings
    pins: Path = PINS


@dataclass(frozen=True)
class Settings:
    """The settings of one faithd; times in seconds.

    No port belongs to two *services*.  *prefixes* are reserved for as long as the daemon runs.
    *access_rules* take precedence over *access_file*; with both None, `ACCESS_FILE` is read if it
    exists. *maps_file* is the file of those *maps* that ``faith map`` can change. *metrics* is the
    admin listener's address and port, *admin_access* who may read there. Told to stop, the daemon
    is a *lame_duck* for so many seconds before it refuses connections, and sessions have
    *drain_timeout* after that. *sources* are the addresses that clients connect from where no rule
    names one. Without the IPv4 address *vrrp*, if there is one, it is a standby: maps and added
    sources are another's. Mapped addresses that another host has are not claimed, where it
    *refuses_conflicts*. *kernel_path* is None where all services are relayed. No two *proxies*
    listen at one address and port; *proxy_tls* has the files of those with TLS. Raises ConfigError.
    """

    services: tuple[Service, ...]
    via: str = "auto"
    prefixes: tuple[Prefix, ...] = ()
    access_file: Path | None = None
    access_rules: str | None = None
    maps: Maps = NO_MAPS
    maps_file: Path | None = None
    refuses_conflicts: bool = True
    vrrp: int | None = None
    sources: Sources = NO_SOURCES
    workers: int = 1
    user: str = field(default_factory=default_user)
    drain_timeout: float = 5.0
    lame_duck: float = 0.0
    pid_file: Path | None = None
    control: Path | None = None
    log: str = FORMS[0]
    metrics: tuple[str, int] | None = None
    admin_access: AdminAccess = EVERYBODY
    probes: ProbeSettings = NO_PROBES
    recording: Recording = field(default_factory=Recording)
    relay: RelaySettings = field(default_factory=RelaySettings)
    dns: DnsSettings | None = None
    dns_workers: int = 1
    ping: PingSettings | None = None
    udp: UdpSettings | None = None
    kernel_path: KernelPath | None = None
    proxies: tuple[ProxySettings, ...] = ()
    proxy_tls: tuple[ProxyTls, ...] = ()

    def __post_init__(self) -> None:
        if self.kernel_ports and (why := self._why_all_are_relayed()):
            raise ConfigError(f"port {self.kernel_ports} cannot go by the kernel path: {why}")

    def ended_certificates(self, now: float) -> Iterator[str]:
        """Yield a sentence for each listener whose certificate is not valid at the Unix time
        *now*."""
        known = [(f"the proxy on {Endpoint(*one[:2])}", one.files) for one in self.proxy_tls]
        if self.admin_access.tls:
            known.append(("the admin listener", self.admin_access.tls))
        for what, files in known:
            if files.expires is not None and files.expires < now:
                yield (
                    f"the certificate of {what}, {files.certificate}, has ended or is not valid yet"
                )

    @property
    def flows(self) -> FlowSettings | None:
        """The settings of flows; None where all services are relayed."""
        return self.kernel_path.flows if self.kernel_path else None

    @property
    def kernel_ports(self) -> Ports:
        """The ports that must go by the kernel path: without it the daemon does not start."""
        return union(service.ports for service in self.services if service.path == KERNEL)

    @property
    def auto_ports(self) -> Ports:
        """The ports that go by the kernel path where the host has it, and else by the relay."""
        if self._why_all_are_relayed():
            return NO_PORTS
        return union(service.kernel_ports for service in self.services if service.path == AUTO)

    def kept_by_relay(self) -> list[tuple[Ports, str]]:
        """Return the ports of services with the path "auto" that are relayed anyhow, and why."""
        auto = [service for service in self.services if service.path == AUTO]
        if why := self._why_all_are_relayed():
            return [(service.ports, why) for service in auto]
        return [kept for service in auto for kept in service.kept_by_relay()]

    def _why_all_are_relayed(self) -> str | None:
        if self.via == "redirect":
            return REDIRECT
        return PRIVILEGED if self.relay.reserved_port else None

    @property
    def name(self) -> str:
        """The operator's names of the services; without any, what is served instead of them."""
        named = ",".join(service.name for service in self.services)
        return named or ("proxy" if self.proxies else "maps")

    @property
    def ports(self) -> Ports:
        """The ports of all services."""
        return union(service.ports for service in self.services)

    @property
    def local_ports(self) -> Ports:
        """The ports that have a local server."""
        return union(service.ports for service in self.services if service.local_server)

    def check_local_servers(self) -> None:
        """Raise SetupError for a local server that cannot be executed."""
        for service in self.services:
            if service.local_server:
                service.local_server.check()

    def local_server(self, port: int) -> LocalServer | None:
        """Return the local server for *port* of the gateway's own addresses, or None."""
        for service in self.services:
            if port in service.ports:
                return service.local_server
        return None


def union(several: Iterable[Ports]) -> Ports:
    """Return the union of *several* sets of ports."""
    return reduce(Ports.__or__, several, NO_PORTS)
