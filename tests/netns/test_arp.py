"""ARP between two hosts: what one sends, and what the other makes of it."""

from __future__ import annotations

import errno
import select
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.sockets.arp import ArpSocket, Claim, link_address
from faith.lab.topology import SERVER
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

WANTED, UNUSED = int(IPv4Address(SERVER)), int(IPv4Address("192.0.2.99"))


@pytest.fixture
def arp(lab: ThreeHosts) -> Iterator[ArpSocket]:
    """One on the gateway, before the server."""
    made = lab.gateway.call(ArpSocket)
    yield made
    made.close()


@pytest.fixture
def server(lab: ThreeHosts) -> Iterator[ArpSocket]:
    made = lab.server.call(ArpSocket)
    yield made
    made.close()


def heard(arp: ArpSocket, seconds: float = 2) -> list[Claim]:
    select.select([arp], [], [], seconds)
    return list(arp.claims())


def test_who_has_an_address_answers_a_probe(lab: ThreeHosts, arp: ArpSocket) -> None:
    lab.gateway.call(arp.probe, "to-server", UNUSED)
    assert heard(arp, 0.2) == []
    lab.gateway.call(arp.probe, "to-server", WANTED)
    theirs = lab.server.call(link_address, "to-gateway")
    (claim,) = heard(arp)
    assert claim == Claim("to-server", WANTED, theirs)
    assert str(claim) == f"{SERVER} is answered for by {theirs.hex(':')} on to-server"


def test_a_probe_claims_nothing_and_an_announcement_does(
    lab: ThreeHosts, arp: ArpSocket, server: ArpSocket
) -> None:
    lab.gateway.call(arp.probe, "to-server", UNUSED)
    assert heard(server) == []
    lab.gateway.call(arp.announce, "to-server", UNUSED)
    ours = lab.gateway.call(link_address, "to-server")
    assert heard(server) == [Claim("to-gateway", UNUSED, ours)]
    assert heard(arp, 0.1) == [], "what it sends itself is nobody's claim"


def test_a_probe_is_seen_by_whom_it_matters_to(
    lab: ThreeHosts, arp: ArpSocket, server: ArpSocket
) -> None:
    ours = lab.gateway.call(link_address, "to-server")
    lab.gateway.call(arp.probe, "to-server", UNUSED)
    select.select([server], [], [], 2)
    (probe,) = server.claims(probes=True)
    assert probe == Claim("to-gateway", UNUSED, ours, probing=True)
    assert str(probe) == f"192.0.2.99 is about to be claimed by {ours.hex(':')} on to-gateway"


def test_an_interface_without_ethernet_is_refused(lab: ThreeHosts, arp: ArpSocket) -> None:
    with pytest.raises(OSError, match="No such device") as refused:
        lab.gateway.call(arp.probe, "nowhere", UNUSED)
    assert refused.value.errno == errno.ENODEV


def test_the_missing_right_is_named(lab: ThreeHosts) -> None:
    with (
        lab.gateway.inside(),
        pytest.raises(PermissionNeeded, match="CAP_NET_RAW"),
    ):
        without_capabilities(ArpSocket)
