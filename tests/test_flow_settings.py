from __future__ import annotations

from typing import Any

import pytest

from faith.daemon.config import carried
from faith.errors import ConfigError
from faith.flow.flow_settings import MOST_FLOWS, FlowSettings
from faith.translation.ports import NO_PORTS, Ports

WEB = Ports([(80, 80), (443, 443)])
OWN = 0xC6336409  # 198.51.100.9


def test_the_usual_times_are_those_of_the_rfcs() -> None:
    usual = FlowSettings(WEB)
    assert (usual.tcp_est, usual.tcp_trans) == (2 * 3600 + 4 * 60, 4 * 60)
    assert usual.lifetime == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tcp_est": 7439.9}, "tcp_est: must be at least 7440 seconds (RFC 5382 REQ-5)"),
        ({"tcp_trans": 239}, "tcp_trans: must be at least 240 seconds (RFC 5382 REQ-5)"),
        ({"tcp_syn": 5}, "tcp_syn: must be at least 6 seconds (RFC 6146 section 4)"),
        ({"address_ports": NO_PORTS}, "address_ports: name at least one port"),
        ({"shared_ports": NO_PORTS}, "shared_ports: name at least one port"),
        (
            {"address_ports": Ports([(1023, 2000)])},
            "address_ports: must be 1024 or more: servers trust clients with ports below that",
        ),
        ({"mss": 535}, "mss: must be from 536 to 65495, or 0 for what the MTUs allow"),
        ({"mss": 65496}, "mss: must be from 536 to 65495, or 0 for what the MTUs allow"),
        ({"limit": 0}, "limit: must be from 1 to 4194304"),
        ({"limit": MOST_FLOWS + 1}, "limit: must be from 1 to 4194304"),
        ({"half_open": 0}, "half_open: must be from 1 to 4194304"),
        ({"client_length": 0}, "client_length: must be from 1 to 128"),
        ({"client_length": 129}, "client_length: must be from 1 to 128"),
    ],
)
def test_what_the_rfcs_forbid_and_what_makes_no_sense_is_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        FlowSettings(WEB, **wrong)
    assert str(refused.value) == message


def test_the_bounds_themselves_are_allowed() -> None:
    FlowSettings(WEB, mss=536, tcp_syn=6, limit=1, half_open=MOST_FLOWS, client_length=128)


def test_an_address_of_the_flows_own_has_more_ports_than_a_shared_one() -> None:
    settings = FlowSettings(WEB, addresses=(OWN,))
    assert settings.ports(OWN) == Ports([(1024, 65535)])
    assert settings.ports(OWN + 1) == Ports([(61000, 65535)])


def test_settings_arrive_in_another_process_as_they_were() -> None:
    settings = FlowSettings(
        WEB, (OWN, OWN + 1), Ports([(2000, 3000)]), mss=1220, rate=12.5, lifetime=60, limit=7
    )
    assert carried.loads(carried.dumps(settings), FlowSettings) == settings


def test_settings_that_contradict_each_other_do_not_arrive() -> None:
    text = carried.dumps(FlowSettings(WEB)).replace('"tcp_est":7440.0', '"tcp_est":10.0')
    with pytest.raises((ConfigError, ValueError), match="tcp_est"):
        carried.loads(text, FlowSettings)
