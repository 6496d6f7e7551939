"""What a reload takes and refuses by itself; tests/netns/test_faith_toml.py has daemons do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.settings import KernelPath, Service, Settings
from faith.daemon.reload import changed_for_good, check_way
from faith.dns.options import Options
from faith.dns.service import Settings as DnsSettings
from faith.errors import ConfigError
from faith.flow.flow_settings import FlowSettings
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP = Service("http", Ports([(80, 80)]))
TELNET = Service("telnet", Ports([(23, 23)]))
NOW = Settings((HTTP, TELNET))
SERVED = replace(TELNET, local_server=LocalServer("/bin/true", ("true",)))


@pytest.mark.parametrize(
    "change",
    [
        {"services": (TELNET, replace(HTTP, name="80", alg="ftp"))},
        {"services": (Service("both", Ports([(23, 23), (80, 80)])),)},
        {"relay": RelaySettings(idle_timeout=3)},
        {"drain_timeout": 3.0},
        {"services": (replace(HTTP, path="kernel"), TELNET)},
        {"kernel_path": KernelPath(FlowSettings(Ports([(80, 80)])))},
        {"log": "json"},
        {"metrics": ("::1", 1)},
        {"access_rules": ""},
        {"dns": DnsSettings(Options(()))},
    ],
)
def test_what_processes_follow_while_they_live(change: Mapping[str, Any]) -> None:
    settings = replace(NOW, **change)
    check_way(NOW, settings)
    assert not changed_for_good(NOW, settings)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"workers": 7}, "workers"),
        ({"user": "daemon", "pid_file": Path("/run/x")}, "user, pid_file"),
        ({"services": (HTTP,)}, "service.ports"),
        ({"services": (HTTP, SERVED)}, "service.server"),
        ({"relay": RelaySettings(rsh=Ports([(514, 514)]))}, "service.alg"),
    ],
)
def test_what_takes_other_processes(change: Mapping[str, Any], keys: str) -> None:
    assert ", ".join(changed_for_good(NOW, replace(NOW, **change))) == keys


def test_the_way_in_stays() -> None:
    with pytest.raises(ConfigError, match=r"^prefix.via: to change this, faithd must be started"):
        check_way(NOW, replace(NOW, via="tproxy"))
