"""Routes of mapped networks and reasons for unanswered ARP; see test_mapped_networks.py too."""

from __future__ import annotations

import os
import subprocess
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import mapped_routes

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns


def network(text: str) -> tuple[int, int]:
    found = ip_network(text)
    return int(found.network_address), found.prefixlen


NEAR, NEAR_TOO, FAR = map(network, ("192.0.2.102/32", "192.0.2.128/25", "198.51.100.0/24"))
AROUND = network("192.0.0.0/16")


@pytest.mark.usefixtures("private_network")
class TestHeld:
    def test_holding_twice_and_releasing_what_is_gone_change_nothing(self) -> None:
        mapped_routes.release([FAR], 7)
        for _ in range(2):
            mapped_routes.hold([NEAR, FAR], 7)
            assert mapped_routes.held() == {7: {NEAR, FAR}}
        for _ in range(2):
            mapped_routes.release([NEAR], 7)
            assert mapped_routes.held() == {7: {FAR}}

    def test_routes_of_others_are_none_of_ours(self) -> None:
        local = ["ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo", "proto"]
        subprocess.run([*local, "71", "metric", "7"], check=True)
        assert mapped_routes.held() == {}
        mapped_routes.hold([FAR], 8)
        assert mapped_routes.held() == {8: {FAR}}


class TestArp:
    @pytest.fixture(autouse=True)
    def _usual(self, lab: ThreeHosts) -> None:
        for device in ("all", "to-server"):
            lab.gateway.sysctl(f"net.ipv4.conf.{device}.arp_ignore", 0)

    def sentences(self, lab: ThreeHosts, *networks: tuple[int, int]) -> list[str]:
        return lab.gateway.call(lambda: list(mapped_routes.unanswered(networks)))

    def test_an_interface_that_answers_is_not_told(self, lab: ThreeHosts) -> None:
        assert self.sentences(lab, NEAR, FAR) == []

    @pytest.mark.parametrize("device", ["all", "to-server"])
    def test_one_that_does_not_is_told_once_with_what_to_set(
        self, lab: ThreeHosts, device: str
    ) -> None:
        lab.gateway.sysctl(f"net.ipv4.conf.{device}.arp_ignore", 1)
        (sentence,) = self.sentences(lab, NEAR, NEAR_TOO, FAR)
        assert "to-server" in sentence
        assert "192.0.2.0/24" in sentence
        assert "net.ipv4.conf.to-server.arp_ignore=0" in sentence

    def test_what_is_routed_here_needs_no_arp(self, lab: ThreeHosts) -> None:
        lab.gateway.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        assert self.sentences(lab, FAR) == []
        assert self.sentences(lab, AROUND) == []  # more than the subnet: routed here as well


def test_the_metric_tells_the_process(private_network: None) -> None:
    mapped_routes.hold([FAR], os.getpid())
    shown = subprocess.run(
        ["ip", "route", "show", "table", "local", "proto", "70"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "198.51.100.0/24 dev lo" in shown
    assert f"metric {os.getpid()}" in shown
