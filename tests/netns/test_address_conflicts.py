"""Mapped addresses that another host on the link has, or comes to have."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import pytest

from faith.cli import status
from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT, Faithd
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
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
ANYHOW = '[maps]\nconflicts = "report"\n'
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


def refusal(lab: ThreeHosts, directory: Path, text: str) -> str:
    """Start a daemon that does not come up; return what it says."""
    file = directory / "refused.toml"
    file.write_text(f'control = "{directory}/control"\n{text}')
    faithd = Faithd(lab.gateway, directory / "refusal", "--config", str(file))
    assert faithd.process.wait(20) == 1, faithd.said
    return faithd.said


def link_address(node: Host) -> str:
    words = node.run(["ip", "-o", "link", "show", "to-gateway"]).stdout.split()
    return words[words.index("link/ether") + 1]


def assert_served(faithd: Gateway, *addresses: str) -> None:
    """The daemon has routes for these mapped addresses, and for no others."""
    words = ["ip", "-4", "route", "show", "table", "local", "proto", "70"]
    lines = faithd.lab.gateway.run(words).stdout.splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(addresses)


@contextmanager
def probing(node: Host, address: str, by: str) -> Iterator[None]:
    """Somebody on the link is probing *address* again and again, as before a claim."""
    packet = bytes.fromhex("0001080006040001" + by.replace(":", "")) + bytes(10)
    packet += ipaddress.ip_address(address).packed
    over = threading.Event()

    def probe() -> None:
        with node.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
            while not over.wait(0.02):
                sock.sendto(packet, ("to-gateway", 0x0806, 0, 0, b"\xff" * 6))

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MAP, id="a map"),
        pytest.param(f'[[source]]\naddresses = ["{MAPPED}"]\nset_up = true\n', id="a source"),
        pytest.param(f'[dns]\npool = ["{MAPPED}/32"]\npool_file = "POOL"\n', id="a pool"),
    ],
)
def test_nothing_starts_with_an_address_that_a_neighbour_has(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host, tmp_path: Path, text: str
) -> None:
    give(node, MAPPED)
    before = lab.gateway.links.routes()
    said = refusal(lab, tmp_path, BASE + text.replace("POOL", f"{tmp_path}/pool"))
    assert f"map IPv4 networks: {MAPPED} is answered for by {link_address(node)} on" in said
    assert 'conflicts = "report" in [maps] claims it all the same' in said
    assert lab.gateway.links.routes() == before
    node.run(["ip", "addr", "del", f"{MAPPED}/32", "dev", "to-gateway"])
    start(BASE + text.replace("POOL", f"{tmp_path}/pool"))


def test_a_reload_with_such_an_address_changes_nothing(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    give(node, "192.0.2.103")
    faithd = start(BASE + MAP)
    with pytest.raises(CalledProcessError):
        faithd.reload(BASE + MAP.replace(MAPPED, "192.0.2.103"))
    faithd.wait_said("192.0.2.103 is answered for by")
    assert "everything stays as it was" in faithd.said
    assert_served(faithd, MAPPED)
    # What it has is asked for no more, whoever has it besides.
    give(node, MAPPED)
    faithd.reload(BASE + MAP + MAP.replace("102", "104").replace(CLIENT, "2001:db8:6::4"))
    assert_served(faithd, MAPPED, "192.0.2.104")


def test_an_upgrade_is_not_refused_for_what_it_has_and_is_for_what_it_would_add(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    faithd = start(BASE + MAP)
    give(node, MAPPED)
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("upgraded to program 2", seconds=15)
    give(node, "192.0.2.103")
    faithd.write(faithd.file.read_text().replace(MAPPED, "192.0.2.103"))
    faithd.signal(signal.SIGUSR2)
    faithd.wait_said("192.0.2.103 is answered for by", seconds=15)
    assert_served(faithd, MAPPED)


def test_one_that_was_killed_starts_again(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    faithd = start(BASE + MAP)
    faithd.signal(signal.SIGKILL)
    faithd.process.wait(5)
    assert_served(start(BASE + MAP), MAPPED)


def test_of_two_that_start_at_once_one_serves(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host, tmp_path: Path
) -> None:
    """The one with the lower link address, as it was not to be known who would be the first."""
    for by, comes_up in (("02:00:00:00:00:01", False), ("fe:ff:ff:ff:ff:fe", True)):
        with probing(node, MAPPED, by):
            if comes_up:
                start(BASE + MAP)
            else:
                said = refusal(lab, tmp_path, BASE + MAP)
                assert f"{MAPPED} is about to be claimed by {by} on to-server" in said


def test_a_neighbour_that_has_the_address_or_gets_it_is_told(
    lab: ThreeHosts, start: Callable[[str], Gateway], node: Host
) -> None:
    give(node, MAPPED)
    faithd = start(BASE + MAP + ANYHOW)
    faithd.wait_said(f"duplicate address: {MAPPED} is answered for by")
    assert f"duplicate address: {MAPPED} is answered for by" in warnings(lab)
    assert add(lab, SERVER, "2001:db8:6::4").returncode == 0
    faithd.reload(BASE + MAP.replace(MAPPED, "192.0.2.103") + ANYHOW)
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
