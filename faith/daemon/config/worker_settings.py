"""The settings of a worker besides its policy, which the supervisor sends when they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

# msgspec looks the annotations up when it decodes.
from faith.daemon.observe.records import Recording  # noqa: TC001
from faith.dns.endpoint import Endpoint  # noqa: TC001
from faith.relay.proxy.proxy_settings import ProxySettings  # noqa: TC001
from faith.relay.tcp.relay_settings import Settings as RelaySettings  # noqa: TC001
from faith.translation.ports import Ports  # noqa: TC001

if TYPE_CHECKING:
    from faith.daemon.config.settings import Settings


@dataclass(frozen=True)
class WorkerSettings:
    """The *relay*'s settings, the ports that have a *local* server, and how sessions
    are recorded."""

    relay: RelaySettings
    recording: Recording
    local: Ports
    log: str


@dataclass(frozen=True)
class NameSettings:
    """How the names are looked up that proxies are asked for.

    *forward* are the servers, without any those of resolv.conf(5), *own* where this daemon itself
    answers for names, if it was told where: it would make addresses for DNS64.  The rest is as in
    `faith.dns.service.Settings`.
    """

    forward: tuple[Endpoint, ...] = ()
    own: tuple[Endpoint, ...] = ()
    mixed_case: bool = False
    authorities: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> NameSettings:
        """Return those of a daemon with *settings*."""
        dns = settings.dns
        if dns is None:
            return cls()
        return cls(dns.forward, dns.listen, dns.mixed_case, dns.authorities)


@dataclass(frozen=True)
class ProxiesSettings:
    """The *proxies* of a daemon, and how their *names* are looked up."""

    proxies: tuple[ProxySettings, ...] = ()
    names: NameSettings = NameSettings()


NO_PROXIES = ProxiesSettings()
"""The settings of a daemon without proxies."""
