"""Hosts that cannot have a kernel path: what a daemon does there, and what it says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.conftest import do_without
from tests.faithd import ENVIRONMENT, FAITHD
from tests.netns.flow_lab import BASE, FROM_OWN, add_own, faith
from tests.netns.flow_talk import Talker, echo
from tests.netns.gateway import Gateway
from tests.netns.service import connect
from tests.netns.test_device_features import set_feature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]


def ipsec(gateway: Host) -> None:
    ends = ["src", "192.0.2.0/24", "dst", "198.51.100.0/24", "dir", "out"]
    template = ["tmpl", "src", "192.0.2.1", "dst", "198.51.100.1", "proto", "esp", "mode", "tunnel"]
    if gateway.run(["ip", "xfrm", "policy", "add", *ends, *template], check=False).returncode:
        do_without("the kernel has no IPsec")


def list_gro(gateway: Host) -> None:
    with gateway.inside():
        set_feature("to-client", "rx-gro-list")


def taken_ports(gateway: Host) -> None:
    gateway.sysctl("net.ipv4.ip_local_port_range", "32768 61999")


CONDITIONS = pytest.mark.parametrize(
    ("lack", "said"),
    [
        (ipsec, "1 IPsec policy (ip xfrm policy)"),
        (list_gro, "ethtool -K to-client rx-gro-list off"),
        (taken_ports, "ports 61000-61999 are in net.ipv4.ip_local_port_range"),
    ],
)


@CONDITIONS
def test_a_service_that_must_have_it_does_not_start(
    lab: ThreeHosts, tmp_path: Path, lack: Callable[[Host], None], said: str
) -> None:
    lack(lab.gateway)
    file = tmp_path / "faith.toml"
    file.write_text(BASE)
    before = lab.gateway.run(["nft", "list", "ruleset"]).stdout
    command = [*FAITHD, "-F", "--config", str(file)]
    done = lab.gateway.run(command, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert "the kernel path: " in done.stderr
    assert said in done.stderr
    assert lab.gateway.run(["nft", "list", "ruleset"]).stdout == before


@CONDITIONS
def test_one_that_may_have_it_is_relayed(
    lab: ThreeHosts, tmp_path: Path, lack: Callable[[Host], None], said: str
) -> None:
    lack(lab.gateway)
    faithd = Gateway(lab, tmp_path, BASE.replace('"kernel"', '"auto"'))
    with contextlib.closing(Talker(lab.server)), connect(lab) as client:
        echo(client)
    faithd.wait_said("end=closed")
    assert said in faithd.said
    assert said in faith(lab, "status")


def test_ports_of_an_address_of_their_own_may_be_any(lab: ThreeHosts, tmp_path: Path) -> None:
    """Ports of other addresses that sockets of the gateway may take are left to these."""
    taken_ports(lab.gateway)
    add_own(lab)
    Gateway(lab, tmp_path, BASE + FROM_OWN)
    guard = lab.gateway.run(["nft", "list", "table", "ip", "faith_flows"]).stdout
    assert "elements = { 62000-65535 }" in guard


def test_ports_that_are_reserved_may_be_in_the_range(lab: ThreeHosts, tmp_path: Path) -> None:
    taken_ports(lab.gateway)
    lab.gateway.sysctl("net.ipv4.ip_local_reserved_ports", "61000-61999")
    Gateway(lab, tmp_path, BASE)
