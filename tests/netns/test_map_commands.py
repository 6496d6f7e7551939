"""The static maps of a running daemon: read, shown, changed, and kept or not."""

from __future__ import annotations

import json
import signal
import subprocess
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX
from tests.netns.gateway import Gateway, reread
from tests.netns.service import PORT, Echo, answers, connect
from tests.netns.test_faith_toml import faith
from tests.netns.test_maps import connect as connect_v4
from tests.netns.test_maps import relays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[[map]]
v4 = "198.51.100.1"
v6 = "2001:db8:6::7"
"""
ONE = "198.51.100.1 2001:db8:6::7"
TWO = "198.51.100.2 2001:db8:6::3"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "maps"
    path.write_text(f"# saved\n{TWO} ports=80\n")
    return path


@pytest.fixture
def gateway(lab: ThreeHosts, tmp_path: Path, file: Path) -> Gateway:
    return Gateway(lab, tmp_path, whole(file))


def whole(file: Path) -> str:
    return f'{BASE}[maps]\nfile = "{file}"\n'


def maps(lab: ThreeHosts) -> list[str]:
    """Each with the name of its file, in the order of the addresses."""
    found: list[dict[str, Any]] = json.loads(faith(lab, "map", "list", "--json"))
    return [
        f"{one['v4']} {one['v6']} {one['ports']} {str(one['file']).rpartition('/')[2]}"
        for one in found
    ]


def refused(lab: ThreeHosts, *words: str) -> str:
    """Return the error message of ``faith map WORDS``."""
    with pytest.raises(subprocess.CalledProcessError) as told:
        faith(lab, "map", *words)
    return str(told.value.stderr)


@pytest.mark.usefixtures("echo")
def test_maps_come_and_go_while_others_are_served(
    lab: ThreeHosts, gateway: Gateway, file: Path
) -> None:
    saved = file.read_text()
    with connect(lab) as connection:
        assert answers(connection)
        told = faith(lab, "map", "add", "198.51.100.3", "2001:db8:6::4", "--protocol", "tcp")
        assert told == (
            "added, until faithd reads its files again: 198.51.100.3 2001:db8:6::4 protocols=tcp\n"
        )
        faith(lab, "map", "del", "198.51.100.1")
        assert maps(lab) == [
            "198.51.100.2 2001:db8:6::3 80 maps",
            "198.51.100.3 2001:db8:6::4 None None",
        ]
        header, first, *_ = faith(lab, "map", "list").splitlines()
        assert header.split() == ["v4", "v6", "protocols", "ports", "to_port", "direction", "file"]
        assert first.split()[:6] == ["198.51.100.2", "2001:db8:6::3", "tcp,udp", "80", "-", "in"]
        assert file.read_text() == saved

        faith(lab, "reload")
        assert maps(lab) == [
            "198.51.100.1 2001:db8:6::7 None faith.toml",
            "198.51.100.2 2001:db8:6::3 80 maps",
        ]
        gateway.wait_said("map over, for it is in no file: 198.51.100.3 ")
        assert answers(connection)


def test_what_is_saved_is_there_after_a_reload(
    lab: ThreeHosts, gateway: Gateway, file: Path
) -> None:
    told = faith(lab, "map", "add", "198.51.100.3", "2001:db8:6::4", "--save")
    assert told == f"added, saved in {file}: 198.51.100.3 2001:db8:6::4\n"
    assert file.read_text() == f"# saved\n{TWO} ports=80\n198.51.100.3 2001:db8:6::4\n"
    faith(lab, "map", "del", "198.51.100.2", "--ports", "80", "--save")
    assert file.read_text() == "# saved\n198.51.100.3 2001:db8:6::4\n"
    after = ["198.51.100.1 2001:db8:6::7 None faith.toml", "198.51.100.3 2001:db8:6::4 None maps"]
    assert maps(lab) == after
    faith(lab, "reload")
    assert maps(lab) == after
    # What was added for now can be saved later.
    faith(lab, "map", "add", "198.51.100.4", "2001:db8:6::5")
    faith(lab, "map", "add", "198.51.100.4", "2001:db8:6::5", "--save")
    assert maps(lab)[2:] == ["198.51.100.4 2001:db8:6::5 None maps"]


def test_a_bad_change_changes_nothing(lab: ThreeHosts, gateway: Gateway, file: Path) -> None:
    def add(v4: str, v6: str, *words: str) -> str:
        return refused(lab, "add", v4, v6, *words)

    faith(lab, "map", "add", *TWO.split(), "--ports", "81")
    before = maps(lab)
    assert "stands for 2001:db8:6::7 already" in add("198.51.100.1", "2001:db8:6::9")
    assert "goes out as 198.51.100.1 already" in add("198.51.100.9", "2001:db8:6::7", "--save")
    assert "the same map is there already" in add(*ONE.split())
    assert f"{GATEWAY_V4} is the gateway's own" in add(GATEWAY_V4, "2001:db8:6::9")
    assert f"under the prefix {PREFIX}" in add("198.51.100.9", "2001:db8:ffff::1", "--save")
    assert "there is no such map" in refused(lab, "del", "198.51.100.9")
    assert "faith.toml; delete it there" in refused(lab, "del", "198.51.100.1", "--save")
    assert "2 maps are such; say more" in refused(lab, "del", "198.51.100.2")
    assert file.read_text() == f"# saved\n{TWO} ports=80\n"
    file.write_text("nonsense")
    assert "maps:1: a map has two addresses" in add("198.51.100.9", "2001:db8:6::9", "--save")
    file.unlink()
    assert "no such file" in add("198.51.100.9", "2001:db8:6::9", "--save")
    assert maps(lab) == before
    assert gateway.process.poll() is None


def test_without_a_file_nothing_is_saved(lab: ThreeHosts, tmp_path: Path) -> None:
    Gateway(lab, tmp_path, BASE)
    told = refused(lab, "add", "198.51.100.9", "2001:db8:6::9", "--save")
    assert "faith.toml(5) names it in [maps]" in told


def test_a_bad_file_leaves_the_old_set(lab: ThreeHosts, gateway: Gateway, file: Path) -> None:
    before = maps(lab)
    file.write_text(f"\n198.51.100.9 {PREFIX.replace('/96', '9')}")
    reread(gateway, whole(file), f"{file}:2: 2001:db8:ffff::9 is under the prefix {PREFIX}")
    file.write_text(f"{GATEWAY_V4} 2001:db8:6::3")
    reread(gateway, whole(file), f"{file}:1: {GATEWAY_V4} is the gateway's own")
    text = BASE.replace("198.51.100.1", GATEWAY_V4)
    reread(gateway, text, f"faith.toml:8: {GATEWAY_V4} is the gateway's own")
    assert maps(lab) == before
    gateway.stop()
    with pytest.raises(AssertionError, match=f"faith.toml:8: {GATEWAY_V4} is the gateway's own"):
        Gateway(lab, gateway.file.parent, text)


def test_an_upgrade_keeps_what_is_in_no_file(lab: ThreeHosts, gateway: Gateway) -> None:
    faith(lab, "map", "add", "198.51.100.3", "2001:db8:6::4")
    faith(lab, "map", "add", "198.51.100.4", "2001:db8:6::5", "--save")
    faith(lab, "map", "del", "198.51.100.1")
    before = maps(lab)
    gateway.signal(signal.SIGUSR2)
    gateway.wait_said("upgraded to program 2", seconds=30)
    assert maps(lab) == before


NODES = "192.0.2.103"
"""On the network of the IPv4-only node, which the gateway is to answer for."""


@pytest.fixture
def echo_of_host(lab: ThreeHosts) -> Iterator[Echo]:
    found = Echo(lab.client, PORT)
    yield found
    found.close()


@pytest.mark.usefixtures("gateway", "echo_of_host")
def test_a_map_that_is_added_works_at_once(lab: ThreeHosts) -> None:
    node = lab.server
    assert not relays(node, NODES, PORT)
    faith(lab, "map", "add", NODES, CLIENT)
    with connect_v4(node, NODES, PORT) as connection:
        assert answers(connection)
        faith(lab, "map", "add", "192.0.2.104", "2001:db8:6::9")
        faith(lab, "map", "del", "192.0.2.104")
        assert answers(connection), "what has nothing to do with it goes on"
        faith(lab, "map", "del", NODES)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert not relays(node, NODES, PORT)


@pytest.mark.usefixtures("gateway")
def test_two_ipv6_hosts_meet_by_a_mapped_address(lab: ThreeHosts, echo_of_host: Echo) -> None:
    """RFC 7757 §4: the one goes to the IPv4 address that stands for the other."""
    faith(lab, "map", "add", NODES, CLIENT)
    with connect(lab, lab.mapped(NODES)) as connection:
        assert answers(connection)
        faith(lab, "map", "del", NODES)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    (peer,) = echo_of_host.peers
    assert ip_address(peer) in ip_network(PREFIX), "the answers come back by the gateway"
