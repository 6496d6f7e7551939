"""The guard of the addresses and ports that flows are sent from, as the kernel and nft have it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.flow import flow_guard
from faith.kernel.flow.flow_guard import Guarded
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import IP
from faith.translation.address import number
from faith.translation.ports import Ports
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

OWN = Guarded(((number("198.51.100.9"), 32),), Ports([(1024, 65535)]))
SHARED = Guarded(((number("192.0.2.1"), 32), (number("10.0.0.0"), 8)), Ports([(61000, 65535)]))


def test_nft_lists_it(need: Callable[[str], str]) -> None:
    flow_guard.install(OWN, SHARED, 700)
    argv = [need("nft"), "list", "table", "ip", flow_guard.TABLE]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    text = " ".join(listed.split())
    for line in (
        "elements = { 198.51.100.9 }",
        "elements = { 1024-65535 }",
        "elements = { 10.0.0.0/8, 192.0.2.1 }",
        "elements = { 61000-65535 }",
        "type filter hook input priority filter - 10",
        "ip daddr @own tcp dport @own_ports log group 700 queue-threshold 1 drop",
        "ip daddr @shared tcp dport @shared_ports log group 700 queue-threshold 1 drop",
        "type filter hook output priority raw",
        "ip saddr @own tcp sport @own_ports notrack",
        "ip saddr @shared tcp sport @shared_ports notrack",
    ):
        assert line in text


def test_it_is_replaced_and_removed() -> None:
    flow_guard.install(OWN, SHARED, 700)
    flow_guard.install(OWN, SHARED, 701)
    with Nftables(family=IP) as nft:
        assert nft.has_rules_of(flow_guard.table(OWN, SHARED, 701))
    assert flow_guard.remove()
    assert not flow_guard.remove()


@pytest.mark.parametrize(
    "change",
    [
        "flush ruleset",
        "flush chain ip faith_flows fallen",
        "delete element ip faith_flows own { 198.51.100.9 }",
        "add element ip faith_flows shared_ports { 80 }",
    ],
)
def test_what_others_change_is_seen(need: Callable[[str], str], change: str) -> None:
    flow_guard.install(OWN, SHARED, 700)
    assert flow_guard.is_intact(OWN, SHARED, 700)
    assert not flow_guard.is_intact(OWN, SHARED, 701)
    generation = flow_guard.generation()
    subprocess.run([need("nft"), *change.split()], check=True)
    assert flow_guard.generation() != generation
    assert not flow_guard.is_intact(OWN, SHARED, 700)


def test_it_takes_capabilities() -> None:
    with pytest.raises(PermissionNeeded):
        without_capabilities(lambda: flow_guard.install(OWN, SHARED, 700))
