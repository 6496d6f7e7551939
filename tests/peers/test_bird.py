"""Two gateways that announce the prefix to a router while they are ready: BIRD, by contrib/ha."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX, SERVER
from tests.netns.service import Echo, answers, connect_from
from tests.peers.pair import MAPPED_SERVER, PORT, Member, connect_for, switch

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from faith.lab import Host, Network

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("real_root")]

HA = Path(__file__).parents[2] / "contrib" / "ha"
CLIENTS = [f"2001:db8:6::{number:x}" for number in range(0x100, 0x108)]
BETWEEN = "2001:db8:7::"


class Site:
    """A client with several addresses, its router, two gateways, and a server."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.directory = directory
        self.held: list[socket.socket] = []
        self.client, self.router = network.host("client"), network.host("router")
        self.server = network.host("server")
        self.members = [Member(network.host(f"gw{n}"), n, directory) for n in (1, 2)]
        first, second = (member.host for member in self.members)
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.router.sysctl("net.ipv6.fib_multipath_hash_policy", 1)  # ports count
        network.link(
            self.client, self.router, [f"{one}/64" for one in CLIENTS], ["2001:db8:6::1/64"]
        )
        self.client.links.add_route("default", "2001:db8:6::1")
        switch(
            network,
            "between",
            (self.router, [f"{BETWEEN}1/64"]),
            (first, [f"{BETWEEN}11/64"]),
            (second, [f"{BETWEEN}12/64"]),
        )
        switch(
            network,
            "servers",
            (self.server, [f"{SERVER}/24"]),
            (first, ["192.0.2.11/24"]),
            (second, ["192.0.2.12/24"]),
        )
        for host in (first, second):
            host.links.add_route("default", f"{BETWEEN}1")

    def start(self) -> None:
        """Start BIRD on the router and the gateways, and what tells it whether faithd serves."""
        router = self.directory / "router"
        router.mkdir()
        bird(self.router, router, (HA / "bird-router.conf").read_text())
        for member in self.members:
            text = (HA / "bird-gateway.conf").read_text()
            text = text.replace("192.0.2.11", f"192.0.2.1{member.number}")
            text = text.replace(f"{BETWEEN}11", f"{BETWEEN}1{member.number}")
            control = bird(member.host, member.directory, text)
            up, down = (f"birdc -s {control} {word} faith" for word in ("enable", "disable"))
            member.watch(up, down, down)

    def hops(self) -> set[str]:
        """Return the gateways that the router sends the prefix to."""
        text = self.router.run(["ip", "-6", "route", "show", PREFIX]).stdout
        return {word for word in text.split() if word.startswith(BETWEEN)}


def bird(host: Host, directory: Path, text: str) -> Path:
    """Run BIRD on *host*; return its control socket."""
    file, control = directory / "bird.conf", directory / "bird.ctl"
    file.write_text(text)
    with (directory / "bird.log").open("wb") as output:
        words = ["-f", "-c", str(file), "-s", str(control), "-P", str(directory / "pid")]
        host.popen(["bird", *words], stdout=output, stderr=output)
    wait_until(control.exists, 10, "BIRD's control socket")
    return control


@pytest.fixture
def site(network: Network, tmp_path: Path, need: Callable[[str], str]) -> Iterator[Site]:
    need("bird")
    site = Site(network, tmp_path)
    with ExitStack() as ended:
        ended.enter_context(closing(Echo(site.server, PORT, SERVER)))
        for member in site.members:
            member.start("[timeouts]\ndrain = 60\n")
        site.start()
        wait_until(lambda: len(site.hops()) == 2, 30, f"both gateways in {site.hops()}")
        yield site
        for one in site.held:
            one.close()


def of_both(site: Site) -> bool:
    """Return whether each gateway has some of the held sessions; make one more."""
    site.held.append(connect_from(site.client, MAPPED_SERVER, PORT))
    return all(sessions(member) for member in site.members)


def sessions(member: Member) -> list[str]:
    return member.faith("sessions", "--control", str(member.control)).splitlines()[1:]


def test_a_gateway_that_dies_is_withdrawn_within_a_second(site: Site) -> None:
    first = site.members[0]
    assert first.faithd
    wait_until(lambda: of_both(site), 30, "sessions by both gateways")
    first.faithd.signal(signal.SIGKILL)
    outcome = connect_for(site.client, 20, until=2)
    assert outcome.good
    assert outcome.gap < 1, outcome
    assert site.hops() == {f"{BETWEEN}12"}
    first.faithd.process.wait()
    first.start()
    wait_until(lambda: len(site.hops()) == 2, 30, "both gateways")


def test_a_drain_refuses_nobody(site: Site) -> None:
    first = site.members[0]
    first.faith("drain", "--lame-duck", "4", "--control", str(first.control))
    outcome = connect_for(site.client, 6)
    assert not outcome.errors["ConnectionRefusedError"], outcome
    assert outcome.good > 10
    assert site.hops() == {f"{BETWEEN}12"}


def test_resilient_next_hops_keep_the_sessions_of_a_gateway_that_drains(site: Site) -> None:
    """The router's own group with weights, instead of routes by BGP."""
    site.router.run(["birdc", "-s", str(site.directory / "router" / "bird.ctl"), "down"])
    wait_until(lambda: not site.hops(), 10, "no routes by BGP")
    hops(site.router, "add", "1,128/2,128")
    wait_until(lambda: no_bucket_is_new(site.router), 10, "a tick of the router's clock")
    site.router.run(["ip", "-6", "route", "add", PREFIX, "nhid", "10"])
    wait_until(lambda: of_both(site) and len(site.held) >= 8, 30, "sessions of both gateways")
    first, _ = site.members
    of_first = len(sessions(first))
    first.faith("drain", "--lame-duck", "5", "--control", str(first.control))
    hops(site.router, "replace", "1,1/2,255")
    outcome = connect_for(site.client, 3)
    assert outcome.bad == [], outcome
    assert all(answers(one) for one in site.held)
    assert len(sessions(first)) == of_first


def hops(router: Host, verb: str, group: str) -> None:
    """Have the group 10 be of the next hops 1 and 2, with their weights."""
    if verb == "add":
        for number in (1, 2):
            via = ["via", f"{BETWEEN}1{number}", "dev", "to-between"]
            router.run(["ip", "-6", "nexthop", "add", "id", str(number), *via])
    timers = ["buckets", "256", "idle_timer", "60", "unbalanced_timer", "0"]
    router.run(["ip", "nexthop", verb, "id", "10", "group", group, "type", "resilient", *timers])


def no_bucket_is_new(router: Host) -> bool:
    """Return whether the clock has ticked since the group was made.

    To Linux a bucket that met its last packet in the tick in which it was given to its next hop
    is one that no packet has met, and is moved at once.
    """
    buckets = router.run(["ip", "nexthop", "bucket", "show", "id", "10"]).stdout.splitlines()
    return not any(" idle_time 0 " in one for one in buckets)
