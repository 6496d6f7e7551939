from __future__ import annotations

from typing import Any

import pytest

from faith.daemon.config.settings import Service, Settings
from faith.daemon.host import discovery
from faith.daemon.host.port_conflicts import refuse_taken_ports
from faith.daemon.observe.status_report import Daemon
from faith.errors import SetupError
from faith.translation.ports import Ports


def settings(*ports: tuple[int, int]) -> Settings:
    return Settings((Service("web", Ports(ports)),))


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two faithds, of telnet and of some ports."""
    usual: dict[str, Any] = {"via": "route", "started": 0.0}
    found = [
        Daemon(41, "telnet", "23", prefixes=[], sets_up=[], **usual),
        Daemon(42, "8000-8010", "8000-8010", prefixes=[], sets_up=[], **usual),
    ]
    monkeypatch.setattr(discovery, "running", lambda: found)


def test_ports_that_nobody_serves_are_free() -> None:
    refuse_taken_ports(settings((80, 80), (8011, 8020)), but_of=())


def test_who_serves_a_port_already_is_told() -> None:
    with pytest.raises(SetupError) as error:
        refuse_taken_ports(settings((80, 80), (8005, 8020)), but_of=())
    assert str(error.value) == (
        "serve web: port 8005-8010 is served by faithd 8000-8010 (pid 42) already"
        " (stop that one, or leave the port out)"
    )


def test_whose_ports_this_one_takes_over_does_not_count() -> None:
    refuse_taken_ports(settings((8005, 8005)), but_of=[42])
    with pytest.raises(SetupError, match="port 23 is served by faithd telnet"):
        refuse_taken_ports(settings((23, 23), (8005, 8005)), but_of=[42])
