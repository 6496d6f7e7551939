"""The addresses of flows: who keeps which, and who cannot use them."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4
from tests.netns.flow_lab import (
    BASE,
    FROM_OWN,
    OTHER_CLIENT,
    OWN,
    add_other_client,
    add_own,
    connect_as,
    refused,
    send_raw,
    why_not,
)
from tests.netns.flow_talk import Talker, echo, say
from tests.netns.flows import ACK, RST, Segment
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

ICMP, UNREACHABLE, HOST = 1, 3, 1


@pytest.fixture
def talker(lab: ThreeHosts) -> Iterator[Talker]:
    with contextlib.closing(Talker(lab.server)) as made:
        yield made


@pytest.mark.usefixtures("talker")
def test_the_flows_own_addresses_are_refused_as_destinations(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    """RFC 6146 section 3.8 is not for flows that nobody else can use."""
    add_own(lab)
    gateway = Gateway(lab, tmp_path, BASE + FROM_OWN)
    for address in (OWN, GATEWAY_V4):
        assert why_not(lab, lab.mapped(address)) == errno.ECONNREFUSED
    wait_until(lambda: refused(gateway, "the gateway's own address") == 2, 5, "two refusals")


def test_a_client_keeps_its_address(lab: ThreeHosts, tmp_path: Path, talker: Talker) -> None:
    """RFC 6146 section 3.5.2.3, whichever of the addresses of flows it is."""
    add_other_client(lab)
    own = [f"192.0.2.{number}" for number in range(9, 17)]
    for address in own:
        lab.gateway.links.add_address("to-server", f"{address}/24")
    Gateway(lab, tmp_path, f"{BASE}[flows]\naddresses = {own}\n")
    for client in (CLIENT, OTHER_CLIENT):
        talker.peers.clear()
        for _ in range(5):
            with connect_as(lab, client) as connection:
                echo(connection)
        assert len({address for address, _ in talker.peers}) == 1
        assert talker.peers[0][0] in own


def test_another_server_cannot_enter_a_flow(
    lab: ThreeHosts, tmp_path: Path, talker: Talker
) -> None:
    """RFC 5382 REQ-3: filtering by address and port."""
    lab.server.links.add_address("to-gateway", "192.0.2.81/24")
    Gateway(lab, tmp_path, BASE)
    with connect(lab) as client:
        echo(client)
        ((_, port),) = talker.peers
        intruding = Segment(PORT, port, RST | ACK, source="192.0.2.81", to=GATEWAY_V4)
        send_raw(lab.server, [intruding.ipv4()])
        wait_until(lambda: metrics(lab)['faith_flow_strays_total{from="v4"}'] == 1, 5, "the stray")
        say(client)
