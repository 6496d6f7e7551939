"""Mapped addresses that another host on the link has, or comes to have."""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from faith.cli import status
from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

MAPPED = "192.0.2.102"
BASE = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "80"
"""
MAP = f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n'


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Callable[[str], Gateway]:
    return lambda text: Gateway(lab, tmp_path, text)


@pytest.fixture
def node(lab: ThreeHosts) -> Host:
    """A host on the IPv4 link."""
    return lab.server


def give(node: Host, address: str) -> None:
    node.run(["ip", "addr", "add", f"{address}/32", "dev", "to-gateway"])


def add(lab: ThreeHosts, *maps: str) -> subprocess.CompletedProcess[str]:
    """``faith map add``, on the gateway."""
    command = [sys.executable, "-m", "faith.cli.faith", "map", "add", *maps]
    return lab.gateway.run(command, env=ENVIRONMENT, check=False)


def warnings(lab: ThreeHosts) -> str:
    return "\n".join(one.text for one in lab.gateway.call(status.read).findings)


def test_an_address_that_a_neighbour_has_cannot_be_added(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    start(BASE)
    refused = add(lab, SERVER, CLIENT)
    assert refused.returncode == 1
    assert f"{SERVER} is answered for by" in refused.stderr
    assert "on to-server" in refused.stderr
    assert add(lab, MAPPED, CLIENT).returncode == 0


def test_an_address_is_announced_when_it_is_claimed(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    """A neighbour that knew another host by it sends to the gateway at once."""
    stale = ["lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", "to-gateway"]
    node.run(["ip", "neigh", "replace", MAPPED, *stale])
    start(BASE + MAP)
    links = lab.gateway.run(["ip", "-o", "link", "show", "to-server"]).stdout.split()
    ours = links[links.index("link/ether") + 1]
    wait_until(
        lambda: ours in node.run(["ip", "neigh", "show", MAPPED]).stdout, 5, "the new link address"
    )


def test_a_neighbour_that_has_the_address_or_gets_it_is_told(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    give(node, MAPPED)
    faithd = start(BASE + MAP)
    faithd.wait_said(f"duplicate address: {MAPPED} is answered for by")
    assert f"duplicate address: {MAPPED} is answered for by" in warnings(lab)
    faithd.reload(BASE + MAP.replace(MAPPED, "192.0.2.103"))
    assert "duplicate address" not in warnings(lab)
    packet = bytes.fromhex("0001080006040001") + bytes.fromhex("020000000098")
    packet += ipaddress.ip_address("192.0.2.103").packed + bytes(6)
    packet += ipaddress.ip_address("192.0.2.103").packed
    with node.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        sock.sendto(packet, ("to-gateway", 0x0806, 0, 0, b"\xff" * 6))
    faithd.wait_said("duplicate address: 192.0.2.103 is answered for by 02:00:00:00:00:98")


def test_what_is_only_here_is_no_duplicate(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    start(BASE + MAP + MAP.replace("102", "0/30").replace(CLIENT, "2001:db8:6:1::/126"))
    node.run(["ping", "-c", "3", "-i", "0.5", "-W", "1", MAPPED], check=False)
    assert "duplicate address" not in warnings(lab)
