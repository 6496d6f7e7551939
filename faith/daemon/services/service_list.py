"""The services of a daemon beside relaying, and the settings that each uses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from faith.daemon.services.admin import Admin, close_inherited
from faith.daemon.services.datagram_service import datagram_service
from faith.daemon.services.dns_workers import Answering
from faith.daemon.services.ping import PingKind
from faith.daemon.services.rolling_restart import RollingRestart
from faith.daemon.services.udp import UdpKind

if TYPE_CHECKING:
    from typing import Any

    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.host.socket_activation import PassedSockets
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.process.loop import Loop
    from faith.daemon.services.interface import Leave, Service
    from faith.dns.dns_counters import Counters


def other_services(
    loop: Loop,
    places: MetricAreas,
    passed: PassedSockets,
    lent: AddressLeases,
    leave: Leave,
) -> dict[str, Service]:
    """Return them by name; each process has its *places*, and calls *leave* first.

    They serve on sockets that were *passed*, where there are some for them.  *lent* is the pool.
    """

    def admin(settings: Settings, left: Any) -> Admin | None:
        if settings.metrics is None:
            close_inherited(left)
            return None
        area, life, given = places.area, places.condition, passed.copies("metrics")
        return Admin(loop, settings.metrics, area, life, settings.user, leave, left, given)

    def names(settings: Settings, left: Any) -> Answering | None:
        if settings.dns is None:
            return None
        dns, workers = replace(settings.dns, shared=True), settings.dns_workers
        given, book = passed.copies("dns"), lent.book

        def counters(number: int) -> Counters:
            places.enter_name_server(number)
            return places.name_server(number)

        return Answering(loop, dns, workers, settings.user, leave, counters, book, given=given)

    return {
        "admin": RollingRestart(loop, admin, lambda settings: settings.metrics, to_the_end=True),
        "ping": datagram_service(loop, PingKind(places), lent, leave),
        "udp": datagram_service(loop, UdpKind(places), lent, leave),
        "names": RollingRestart(loop, names, lambda settings: (settings.dns, settings.dns_workers)),
    }
