"""What flows have of the relay's settings; tests/test_config.py has every key of faith.toml."""

from __future__ import annotations

import pytest

from faith.daemon.config.kernel_path_table import flow_settings
from faith.flow.flow_settings import FlowSettings
from faith.relay.tcp.admission import Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.ports import Ports

WEB = Ports([(80, 80)])


def of(**limits: float) -> FlowSettings:
    return flow_settings(WEB, RelaySettings(limits=Limits(**limits)))  # type: ignore[arg-type]


def test_without_limits_there_are_the_defaults() -> None:
    assert of() == FlowSettings(WEB)


@pytest.mark.parametrize(
    ("limits", "flows", "rate"),
    [
        ({"sessions_per_client": 3, "rate_per_client": 5}, 3, 5),
        ({"sessions_per_prefix": 3, "rate_per_prefix": 5}, 3, 5),
        ({"sessions_per_client": 3, "sessions_per_prefix": 9, "rate_per_client": 5}, 9, 5),
    ],
)
def test_a_client_is_a_network_and_has_its_limits_or_those_of_an_address(
    limits: dict[str, float], flows: int, rate: float
) -> None:
    found = of(**limits)
    assert (found.flows_per_client, found.rate_per_client) == (flows, rate)


def test_what_both_paths_have_is_set_once() -> None:
    relay = RelaySettings(lifetime=60, limits=Limits(rate=9, burst=2, prefix_length=48))
    expected = FlowSettings(WEB, rate=9, burst=2, client_length=48, lifetime=60, mss=1220)
    assert flow_settings(WEB, relay, mss=1220) == expected
