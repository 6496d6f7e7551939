"""Echo requests that must not be fragmented, over links that lose long ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli.explain import echo
from faith.cli.explain.facts import PathProbe
from faith.lab.topology import CLIENT, GATEWAY_V6, SERVER
from faith.translation.address import V4

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "PATIENCE", 0.2)


def probe(lab: ThreeHosts, server: str, source: str | None = None) -> PathProbe:
    with lab.gateway.inside():
        return echo.probe(server, source, 1500)


def lose(host: Host, rule: str) -> None:
    host.run(
        ["nft", "-f", "-"],
        stdin="flush ruleset\ntable inet t {\nchain c {\ntype filter hook prerouting priority -450;"
        f"\n{rule}\n}}\n}}\n",
    )


def test_a_way_that_is_wide(lab: ThreeHosts) -> None:
    assert probe(lab, SERVER) == PathProbe(1500, small=True, large=True)
    assert probe(lab, CLIENT) == PathProbe(1500, small=True, large=True)
    assert probe(lab, CLIENT, GATEWAY_V6) == PathProbe(1500, small=True, large=True)


def test_a_way_that_loses_long_packets(lab: ThreeHosts, need: Callable[[str], str]) -> None:
    need("nft")
    for host, address in ((lab.server, SERVER), (lab.client, CLIENT)):
        lose(host, "meta length > 1280 drop")
        assert probe(lab, address) == PathProbe(1500, small=True, large=False)


def test_a_host_that_answers_no_echo_requests(lab: ThreeHosts, need: Callable[[str], str]) -> None:
    need("nft")
    lose(lab.server, "icmp type echo-request drop")
    assert probe(lab, SERVER) == PathProbe(1500, small=False)


def test_no_way_at_all(lab: ThreeHosts) -> None:
    assert probe(lab, "198.51.100.1") == PathProbe(1500, error="Network is unreachable")


def test_the_mtu_that_an_error_names() -> None:
    ours = bytes([8, 0, 0, 0, 0x12, 0x34, 0, 1])
    about = bytes([0x45]) + bytes(19) + ours
    too_big = bytes([3, 4, 0, 0, 0, 0, 0x05, 0x00]) + about
    found = echo._parsed(V4, too_big, 0x1234, "192.0.2.9", SERVER)
    assert found == echo.Echo(mtu=1280, by="192.0.2.9")
    assert echo._parsed(V4, too_big, 0x4321, "192.0.2.9", SERVER) is None
    assert echo._parsed(V4, b"", 0x1234, "192.0.2.9", SERVER) is None
