"""The services of a daemon beside relaying, and the settings that each uses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from faith.daemon.services.admin import Admin, close_inherited
from faith.daemon.services.datagram_service import datagram_service
from faith.daemon.services.dns_workers import DnsWorkers
from faith.daemon.services.ping import PingProtocol
from faith.daemon.services.proxy_tls import TlsTerminators
from faith.daemon.services.rolling_restart import RollingRestart
from faith.daemon.services.udp import UdpProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.host.proxy_listeners import ProxyListeners
    from faith.daemon.host.socket_activation import PassedSockets
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.loop import Loop
    from faith.daemon.services.interface import Leave, Service
    from faith.kernel.descriptor import Source


def proxy_tls(
    loop: Loop, metric_areas: MetricAreas, leave: Leave, listeners: ProxyListeners
) -> RollingRestart[Settings]:
    """Return the service that terminates TLS for proxies, on their *listeners*."""

    def make(settings: Settings, left: Any) -> TlsTerminators | None:
        if not settings.proxy_tls:
            return None
        proxies, workers, user = settings.proxy_tls, settings.workers, settings.user
        length = settings.relay.limits.prefix_length
        enter = metric_areas.enter_terminator
        return TlsTerminators(loop, listeners, proxies, workers, user, leave, enter, length)

    return RollingRestart(loop, make, lambda settings: settings.proxy_tls)


def other_services(
    loop: Loop,
    metric_areas: MetricAreas,
    passed: PassedSockets,
    leases: AddressLeases,
    leave: Leave,
    report: Callable[[], str],
    secured: RollingRestart[Settings],
) -> dict[str, Service]:
    """Return them by name; each process has its *metric_areas*, and calls *leave* first.

    They serve on sockets that were *passed*, where there are some for them.  *leases* is the pool,
    and *report* returns the status report; *secured* is the service of `proxy_tls`.
    """

    def admin(settings: Settings, left: Any) -> Admin | None:
        if settings.metrics is None:
            close_inherited(left)
            return None
        slots, life, given = metric_areas.slots, metric_areas.condition, passed.copies("metrics")
        if isinstance(now := admins.group, Admin) and not given:
            given = now.copies(settings.metrics)  # an address has one listener
        length = settings.relay.limits.prefix_length

        def enter(kept: Iterable[Source]) -> None:
            metric_areas.enter_admin()
            leave(kept)

        return Admin(
            loop,
            settings.metrics,
            slots,
            life,
            settings.user,
            enter,
            left,
            given,
            length,
            report,
            settings.admin_access,
        )

    admins = RollingRestart(loop, admin, lambda settings: (settings.metrics, settings.admin_access))

    def names(settings: Settings, left: Any) -> DnsWorkers | None:
        if settings.dns is None:
            return None
        dns, workers = replace(settings.dns, shared=True), settings.dns_workers
        given, lease_file = passed.copies("dns"), leases.lease_file

        enter = metric_areas.enter_name_server
        return DnsWorkers(loop, dns, workers, settings.user, leave, enter, lease_file, given=given)

    return {
        "admin": admins,
        "ping": datagram_service(loop, PingProtocol(metric_areas), leases, leave),
        "udp": datagram_service(loop, UdpProtocol(metric_areas), leases, leave),
        "tls": secured,
        "names": RollingRestart(loop, names, lambda settings: (settings.dns, settings.dns_workers)),
    }
