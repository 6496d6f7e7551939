"""Settings that are carried to another process arrive as they were, or not at all."""

from __future__ import annotations

import pytest

from faith.daemon.config import carried
from faith.datagram.ping.ping_server import PingSettings
from faith.datagram.udp.flows import UdpSettings
from faith.translation.ports import Ports


@pytest.mark.parametrize(
    "settings",
    [
        PingSettings(),
        PingSettings(timeout=77.0, rate=3.5),
        UdpSettings(),
        UdpSettings(short_ports=Ports([(53, 53), (123, 130)]), flows=7),
    ],
)
def test_what_is_carried_is_what_arrives(settings: object) -> None:
    assert carried.loads(carried.dumps(settings), type(settings)) == settings


def test_what_is_no_such_settings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"timeout"):
        carried.loads('{"timeout": "soon"}', PingSettings)
