"""The part that the ALG takes in a command, by its status."""

from __future__ import annotations

import pytest

from faith.ftp import V4_TO_V6, V6_TO_V4, Direction
from faith.ftp.alg import Alg
from faith.ftp.command import CommandRefused
from faith.ftp.data_port import ActiveTranslated, PassiveTranslated, PassiveUntouched
from faith.ftp.exchange import Exchange, Reinitialising, Securing, Substituted
from faith.ftp.features import ListingFeatures
from faith.ftp.listeners import Listeners
from faith.ftp.telnet import Line
from tests.ftp_playbook import V4_CLIENT, V4_SOURCE, V6_CLIENT

EPRT = "EPRT |2|2001:db8:2::31|5282|"
EPRT_OF_ANOTHER = "EPRT |2|2001:db8:2::32|5282|"
REFUSED = CommandRefused


def alg(direction: Direction = V6_TO_V4, *, active: bool = True, enabled: bool = True) -> Alg:
    client = V6_CLIENT if direction is V6_TO_V4 else V4_CLIENT
    made = Alg(direction, client, 0, V4_SOURCE, active=active)
    if not enabled:
        part(made, "ALGS DISABLE64")
    return made


def part(alg: Alg, command: str) -> Exchange | None:
    return alg.exchange_for(Line(command.encode() + b"\r\n"), Listeners(1, ()))


@pytest.mark.parametrize(
    ("command", "enabled", "disabled", "without_active"),
    [
        ("EPSV", PassiveTranslated, PassiveUntouched, PassiveTranslated),
        ("EPSV ALL", REFUSED, PassiveUntouched, REFUSED),
        ("LPSV", PassiveTranslated, None, PassiveTranslated),
        ("PASV", REFUSED, PassiveUntouched, REFUSED),
        ("PORT 1,2,3,4,5,6", REFUSED, None, REFUSED),
        (EPRT, ActiveTranslated, None, None),
        (EPRT_OF_ANOTHER, REFUSED, None, REFUSED),
        ("FEAT", ListingFeatures, None, ListingFeatures),
        ("AUTH TLS", Securing, Securing, Securing),
        ("REIN", Reinitialising, Reinitialising, Reinitialising),
        ("ALGS STATUS64", Substituted, Substituted, Substituted),
        ("ALGS", REFUSED, REFUSED, REFUSED),
        ("RETR a", None, None, None),
        ("a\0", REFUSED, REFUSED, REFUSED),
    ],
)
def test_from_ipv6(
    command: str, enabled: type | None, disabled: type | None, without_active: type | None
) -> None:
    assert kind_of_part(alg(), command) is enabled
    assert kind_of_part(alg(enabled=False), command) is disabled
    assert kind_of_part(alg(active=False), command) is without_active


@pytest.mark.parametrize(
    ("command", "enabled", "without_active"),
    [
        ("PASV", PassiveTranslated, PassiveTranslated),
        ("PORT 198,51,100,7,20,162", ActiveTranslated, None),
        ("EPRT |1|198.51.100.7|5282|", ActiveTranslated, None),
        ("ALGS DISABLE64", None, None),
    ],
)
def test_from_ipv4(command: str, enabled: type | None, without_active: type | None) -> None:
    assert kind_of_part(alg(V4_TO_V6), command) is enabled
    assert kind_of_part(alg(V4_TO_V6, active=False), command) is without_active


def kind_of_part(alg: Alg, command: str) -> type | None:
    try:
        exchange = part(alg, command)
    except CommandRefused:
        return CommandRefused
    return None if exchange is None else type(exchange)
