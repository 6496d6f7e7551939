from __future__ import annotations

from faith.daemon.config import carried
from faith.daemon.config.worker_settings import WorkerSettings
from faith.daemon.observe.records import Recording
from faith.relay.tcp.admission import Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.ports import NO_PORTS, Ports


def test_what_is_carried_is_what_arrives() -> None:
    relay = RelaySettings(
        connect_timeout=1.5,
        limits=Limits(sessions=3),
        ftp=Ports([(21, 21), (2000, 2100)]),
        rsh=Ports([(514, 514)]),
        rlogin=Ports([(513, 513)]),
        proxy_v1=Ports([(80, 81)]),
        proxy_v2=Ports([(443, 443)]),
    )
    for orders in (
        WorkerSettings(relay, Recording(sample=3), Ports([(23, 23)]), "json"),
        WorkerSettings(RelaySettings(), Recording(), NO_PORTS, "text"),
    ):
        assert carried.loads(carried.dumps(orders), WorkerSettings) == orders
