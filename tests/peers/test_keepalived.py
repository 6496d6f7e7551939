"""A pair of gateways by keepalived (VRRPv3), by the files of contrib/ha."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from contextlib import ExitStack, closing, suppress
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.query
import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.service import Echo, answers, connect_from, listener
from tests.peers.pair import MAPPED, MAPPED_SERVER, PORT, VRRP, Member, connect_for, switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, Network

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]

CONFIGURATION = Path(__file__).parents[2] / "contrib" / "ha" / "keepalived.conf"
MAP = f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{CLIENT}"\n'
MAPS = f'[vrrp]\naddress = "{VRRP}"\n{MAP}'


POOLS = "192.0.2.128/28", "192.0.2.144/28"
ROUTED = "198.51.100.0/28"
"""A pool that is not on the link; the hosts of the lab have a route for it."""
MAC = "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
HOSTS = {"www": CLIENT, "other": "2001:db8:6::3"}
ZONE = EXAMPLE + "".join(f"{name} 60 IN AAAA {host}\n" for name, host in HOSTS.items())


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


class Named:
    """The server of the *pair* asks for names, which have servers with IPv6 alone."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.told: dict[str, str] = {}
        """The hosts that addresses were told as."""
        self._listener = listener(pair.client, PORT)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        """Say to whoever comes which host this is."""
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.sendall(connection.getsockname()[0].encode())

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @staticmethod
    def names(member: Member, pool: str) -> str:
        """Return the tables of a gateway that lends addresses of *pool*."""
        return (
            f'[vrrp]\naddress = "{VRRP}"\n[dns]\nlisten = ["{VRRP}:53"]\nforward = ["{CLIENT}"]\n'
            f'pool = ["{pool}"]\npool_file = "{member.directory}/pool"\n'
        )

    def ask(self, name: str) -> str:
        """Return the address that *name* has at the address of the pair; "" when it has none."""
        query = dns.message.make_query(f"{name}.example.", "A")
        try:
            reply = self.pair.server.call(dns.query.udp, query, VRRP, 1)
        except (dns.exception.Timeout, OSError):
            return ""
        found = [str(record) for answer in reply.answer for record in answer]
        for address in found:
            assert self.told.setdefault(address, HOSTS[name]) == HOSTS[name]
        return found[0] if found else ""

    def reached(self) -> list[str | None]:
        """Return the hosts that the addresses told lead to now, None for nobody."""
        return [self._at(address) for address in self.told]

    def _at(self, address: str) -> str | None:
        try:
            with connect_from(self.pair.server, address, PORT) as connection:
                return connection.recv(100).decode() or None
        except OSError:
            return None

    def has(self, name: str, pool: str) -> bool:
        """Return whether *name* has an address of *pool*; no address leads to a wrong host."""
        address = self.leads_right() and self.ask(name)
        return bool(address) and ip_address(address) in ip_network(pool)

    def hosts_of(self, *pools: str) -> list[str | None]:
        """Return the hosts of the addresses told: what `reached` is when only *pools* work."""
        some = [*map(ip_network, pools)]
        return [
            host if any(ip_address(address) in pool for pool in some) else None
            for address, host in self.told.items()
        ]

    def leads_right(self) -> bool:
        """Return true; no address leads to another host than it was told as."""
        hosts = self.told.values()
        for host, reached in zip(hosts, self.reached(), strict=True):
            assert reached in (host, None)
        return True


@pytest.fixture
def named(network: Network, tmp_path: Path, need: Callable[[str], str]) -> Iterator[Named]:
    need("keepalived")
    pair = Pair(network, tmp_path)
    pair.client.links.add_address("to-clients", f"{HOSTS['other']}/64")
    pair.server.links.add_route(ROUTED, VRRP)
    with (
        pair.client.call(lambda: NameServer(Zones(ZONE), CLIENT, 53)),
        closing(Named(pair)) as named,
        closing(Echo(pair.server, PORT, SERVER)),
    ):
        yield named


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


def test_one_map_has_one_gateway_unless_they_are_a_pair(network: Network, tmp_path: Path) -> None:
    first, second = Pair(network, tmp_path).members
    first.start(MAP)
    assert re.search(rf"{MAPPED} is answered for by {MAC} on to-servers", second.refusal(MAP))
    second.start(MAPS)


class TestPools:
    """Whoever was told an address is led by it to the host of that name, or to nobody."""

    @pytest.mark.parametrize("source", ["client", "gateway"])
    def test_of_two_pools_each_address_keeps_its_meaning(self, named: Named, source: str) -> None:
        """By the gateway's own address a standby serves as well: answers come back to it."""
        sources = f'[maps]\nsource = "{source}"\n'
        first = named.pair.members[0]
        for member, pool in zip(named.pair.members, POOLS, strict=True):
            member.start(named.names(member, pool) + sources)
            named.pair.keep(member)
        wait_master(first)
        wait_until(lambda: named.ask("www"), 10, "an address of the first pool")
        assert named.reached() == [HOSTS["www"]]
        assert first.faithd
        first.faithd.signal(signal.SIGKILL)
        for name in HOSTS:
            wait_until(partial(named.has, name, POOLS[1]), 20, "one of the second pool")
        assert named.reached() == named.hosts_of(POOLS[1])
        first.start(named.names(first, POOLS[0]) + sources)
        wait_until(lambda: named.leads_right() and first.has(VRRP), 20, "the first gateway")
        served = POOLS if source == "gateway" else POOLS[:1]
        wait_until(lambda: named.reached() == named.hosts_of(*served), 10, "each its own")

    @pytest.mark.parametrize("pool", [POOLS[0], ROUTED])
    def test_one_pool_has_one_gateway(self, named: Named, pool: str) -> None:
        """The standby with the same pool is refused; alone it waits until nothing told is left."""
        first, second = named.pair.members
        first.start(named.names(first, pool))
        named.pair.keep(first)
        wait_master(first)
        wait_until(lambda: named.ask("www"), 10, "an address of the pool")
        assert named.reached() == [HOSTS["www"]]
        said = second.refusal(named.names(second, pool))
        address = ip_network(pool).network_address
        assert re.search(rf"{address} is answered for by {MAC} on to-servers", said)
        assert "give each of two its own" in said
        first.cut_off()
        alone = second.start(named.names(second, pool))
        named.pair.keep(second)
        assert "another host had addresses of the pool: lent to nobody for 420 s: 14" in alone.said
        wait_master(second)
        assert answers_at(named.pair, MAPPED_SERVER, named.pair.client)
        assert not named.ask("www")
        assert not named.ask("other")
        assert named.reached() == [None]


def link_address(host: Host, address: str) -> str:
    """Return the Ethernet address that *host* knows for an IPv4 address."""
    text = host.run(["ip", "neigh", "show", address]).stdout
    found = re.search(r"lladdr (\S+)", text)
    assert found, text
    return found[1]
