"""A pair of gateways by keepalived (VRRPv3), by the files of contrib/ha."""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, SERVER
from tests.netns.service import Echo, answers, connect_from
from tests.peers.pair import MAPPED, MAPPED_SERVER, PORT, VRRP, Member, connect_for, switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, Network

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]

CONFIGURATION = Path(__file__).parents[2] / "contrib" / "ha" / "keepalived.conf"
MAPS = f'[vrrp]\naddress = "{VRRP}"\n[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n'


class Pair:
    """Two gateways with keepalived, one client and one server."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.client, self.server = network.host("client"), network.host("server")
        self.members = [Member(network.host(f"gw{n}"), n, directory) for n in (1, 2)]
        first, second = (member.host for member in self.members)
        switch(
            network,
            "clients",
            (self.client, [f"{CLIENT}/64"]),
            (first, ["2001:db8:6::11/64"]),
            (second, ["2001:db8:6::12/64"]),
        )
        switch(
            network,
            "servers",
            (self.server, [f"{SERVER}/24"]),
            (first, ["192.0.2.11/24"]),
            (second, ["192.0.2.12/24"]),
        )
        self.client.links.add_route("default", "2001:db8:6::1")

    def keep(self, member: Member) -> None:
        """Start keepalived, and what tells it whether faithd serves."""
        ready = member.directory / "ready"
        ready.write_text("-254\n")
        member.watch(*(f"echo {value} >{ready}" for value in (0, -254, -50)))
        text = CONFIGURATION.read_text().replace("/run/faith/ready", str(ready))
        text = text.replace("priority 100", f"priority {110 - 10 * member.number}")
        file = member.directory / "keepalived.conf"
        file.write_text(text)
        pids = [f"--{name}={member.directory}/{name}" for name in ("pid", "vrrp_pid")]
        words = ["--dont-fork", "--log-console", "--log-detail", "--vrrp", f"--use-file={file}"]
        member.run("keepalived", *words, *pids, log="keepalived.log")


@pytest.fixture
def pair(network: Network, tmp_path: Path, need: Callable[[str], str]) -> Iterator[Pair]:
    need("keepalived")
    pair = Pair(network, tmp_path)
    with ExitStack() as ended:
        ended.enter_context(closing(Echo(pair.server, PORT, SERVER)))
        ended.enter_context(closing(Echo(pair.client, PORT, CLIENT)))
        for member in pair.members:
            member.start(MAPS)
            pair.keep(member)
            log = member.directory / "keepalived.log"
            wait_until(partial(has_said, log, "(servers) Entering BACKUP STATE"), 20, "a standby")
        wait_master(pair.members[0])
        wait_until(lambda: "standby" not in findings(pair.members[0]), 20, "the maps")
        yield pair


def has_said(log: Path, text: str) -> bool:
    return text in log.read_text()


def wait_master(member: Member) -> None:
    wait_until(lambda: member.has(VRRP) and member.has("2001:db8:6::1"), 20, "the master")


def findings(member: Member) -> set[str]:
    found = json.loads(member.faith("status", "--json"))
    return {one["id"] for one in found["daemons"][0]["findings"]}


def answers_at(pair: Pair, address: str, host: Host) -> bool:
    with connect_from(host, address, PORT) as connection:
        return answers(connection)


def test_the_maps_are_those_of_the_master_alone(pair: Pair) -> None:
    first, second = pair.members
    assert answers_at(pair, MAPPED_SERVER, pair.client)
    assert answers_at(pair, MAPPED, pair.server)
    assert "standby" not in findings(first)
    assert "standby" in findings(second)
    routes = second.host.run(["ip", "route", "show", "table", "all"]).stdout
    assert MAPPED not in routes


def test_a_gateway_that_is_killed_is_replaced_within_a_second(pair: Pair) -> None:
    first, second = pair.members
    assert answers_at(pair, MAPPED, pair.server)
    assert first.faithd
    first.faithd.signal(signal.SIGKILL)
    outcome = connect_for(pair.client, 20, until=2)
    assert outcome.good
    wait_master(second)
    assert outcome.gap < 1, outcome
    wait_until(lambda: "standby" not in findings(second), 5, "the maps at the second")
    assert answers_at(pair, MAPPED, pair.server)
    own = second.host.run(["ip", "-j", "link", "show", "to-servers"]).stdout
    assert link_address(pair.server, MAPPED) == json.loads(own)[0]["address"]


def test_a_drain_hands_over_before_anything_is_refused(pair: Pair) -> None:
    """Connections that are open when the addresses move are cut: the other does not know them."""
    first, second = pair.members
    first.faith("drain", "--lame-duck", "5", "--control", str(first.control))
    outcome = connect_for(pair.client, 4)
    assert outcome.good > 10
    assert not outcome.errors["ConnectionRefusedError"], outcome
    assert outcome.gap < 1, outcome
    wait_master(second)


def link_address(host: Host, address: str) -> str:
    """Return the Ethernet address that *host* knows for an IPv4 address."""
    text = host.run(["ip", "neigh", "show", address]).stdout
    found = re.search(r"lladdr (\S+)", text)
    assert found, text
    return found[1]
