"""What a reload refuses by itself; tests/netns/test_faith_toml.py has daemons do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.local import LocalServer
from faith.daemon.reload import check_fixed
from faith.daemon.settings import Service, Settings
from faith.errors import ConfigError
from faith.relay.relay import Settings as RelaySettings
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
        {"log": "json"},
        {"metrics": ("::1", 1)},
        {"access_rules": ""},
    ],
)
def test_what_may_change(change: Mapping[str, Any]) -> None:
    check_fixed(NOW, replace(NOW, **change))


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"workers": 7}, "workers"),
        ({"user": "daemon", "pid_file": Path("/run/x")}, "user, pid_file"),
        ({"via": "tproxy"}, "prefix.via"),
        ({"services": (HTTP,)}, "service.ports"),
        ({"services": (HTTP, SERVED)}, "service.server"),
        ({"relay": RelaySettings(rsh=Ports([(514, 514)]))}, "service.alg"),
    ],
)
def test_what_may_not(change: Mapping[str, Any], keys: str) -> None:
    with pytest.raises(ConfigError, match=f"^{keys}: to change this, faithd must be started anew"):
        check_fixed(NOW, replace(NOW, **change))
