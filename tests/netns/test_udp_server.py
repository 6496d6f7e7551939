"""A server of UDP with real sockets, on one host: what it reads, when, and what it forgets."""

from __future__ import annotations

import select
import socket
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faith.datagram import icmp
from faith.datagram.udp.udp_counters import DATAGRAMS, FLOWS, LAYOUT, REFUSALS, UdpCounters
from faith.datagram.udp.udp_server import Udp, UdpSockets
from faith.kernel.netlink import routes
from faith.kernel.sockets.icmp_sockets import icmp_socket, icmpv6_socket
from faith.kernel.sockets.udp_sockets import arrivals, piece_sender, sender
from faith.kernel.steering.datagram_steering import DatagramSteering
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from faith.translation.reasons import DENIED
from faith.translation.reasons import FLOWS as TOO_MANY_FLOWS
from faith.translation.udp.flows import UdpSettings
from tests.netns.own_address import add_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::c000:250"
CLIENT, SERVER, PORT = "2001:db8:6::2", "192.0.2.80", 5300


class Loop:
    """An event loop whose time and turns are the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, callback))
        return self.timers[-1]

    def turn(self, patience: float = 5) -> bool:
        """Have what is readable read; false when nothing became so."""
        ready, _, _ = select.select([*self.readers], [], [], patience)
        for fd in ready:
            self.readers[fd]()
        return bool(ready)

    def pass_to(self, now: float) -> None:
        """Let the time be *now*, with all that is due until then."""
        while due := [timer for timer in self.timers if timer.at <= now]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = first.at
            first.run()
        self.now = now


class Timer:
    """A callback that is due at a time, unless it is cancelled."""

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.run = callback

    def cancel(self) -> None:
        self.run = lambda: None


class Bench:
    """A server of UDP, a client and an IPv4 server, all on this host."""

    def __init__(self) -> None:
        subprocess.run(["ip", "address", "add", f"{SERVER}/32", "dev", "lo"], check=True)
        add_address(CLIENT)
        routes.reserve(PREFIX)
        self.sockets = UdpSockets(
            arrivals(socket.AF_INET6),
            arrivals(socket.AF_INET),
            sender(socket.AF_INET6),
            sender(socket.AF_INET),
            icmpv6_socket(icmp.ERRORS_V6),
            icmp_socket(icmp.ERRORS_V4),
            piece_sender(),
        )
        self.lead = DatagramSteering.create(self.sockets.v6, "tproxy")
        self.lead.replace([(PREFIX.address, PREFIX.length)])
        self.loop = Loop()
        self.cells = [0] * LAYOUT.size
        loop: Any = self.loop
        counters = UdpCounters(self.cells)
        self.udp = Udp(loop, self.sockets, self.policy(), UdpSettings(), counters)
        self.client = self.bound(socket.AF_INET6, CLIENT, 0)
        self.server = self.bound(socket.AF_INET, SERVER, PORT)

    def bound(self, family: int, address: str, port: int) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((address, port))
        sock.settimeout(5)
        return sock

    def policy(self, rules: str = "") -> Policy:
        return Policy(Prefixes([PREFIX]), Networks(32, []), Access.parse(rules))

    def ask(self, text: bytes, by: socket.socket | None = None) -> None:
        (by or self.client).sendto(text, (MAPPED, PORT))

    def counted(self, family: Any) -> dict[str, int]:
        numbers = zip(family.values, LAYOUT.of(family, self.cells), strict=True)
        return {name: number for name, number in numbers if number}

    def close(self) -> None:
        self.udp.close()
        self.lead.close()
        for flow in self.udp.flows_from_v6:
            flow.ends.sock.close()
        for sock in (*self.sockets, self.client, self.server):
            sock.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_a_datagram_goes_there_and_its_answer_comes_back_as_from_the_mapped_address(
    bench: Bench,
) -> None:
    bench.udp.serve()
    bench.ask(b"question")
    assert bench.loop.turn()
    text, source = bench.server.recvfrom(100)
    assert text == b"question"
    bench.server.sendto(b"answer", source)
    assert bench.loop.turn()
    assert bench.client.recvfrom(100) == (b"answer", (MAPPED, PORT, 0, 0))
    assert bench.counted(DATAGRAMS) == {"v4": 1, "v6": 1}


def test_what_comes_before_and_after_waits_in_the_queue(bench: Bench) -> None:
    bench.ask(b"early")
    assert not bench.loop.readers
    bench.udp.serve()
    bench.udp.serve()  # changes nothing
    assert len(bench.loop.timers) == 1
    assert bench.loop.turn()
    assert bench.server.recv(100) == b"early"
    bench.udp.close()
    assert not bench.loop.readers
    bench.ask(b"late")
    bench.udp.serve()
    assert bench.loop.turn()
    assert bench.server.recv(100) == b"late"


def test_another_policy_decides_about_the_next_datagram_of_a_flow(bench: Bench) -> None:
    bench.udp.serve()
    bench.ask(b"one")
    bench.loop.turn()
    assert bench.server.recv(100) == b"one"
    bench.udp.policy = bench.policy("::/0 deny 0.0.0.0/0")
    bench.ask(b"two")
    bench.loop.turn()
    bench.udp.policy = bench.policy()
    bench.ask(b"three")
    bench.loop.turn()
    assert bench.server.recv(100) == b"three"
    assert bench.counted(REFUSALS) == {DENIED: 1}


def test_other_settings_are_for_the_next_flow(bench: Bench) -> None:
    bench.udp.serve()
    bench.ask(b"one")
    bench.loop.turn()
    bench.udp.configure(replace(UdpSettings(), flows=1))
    with bench.bound(socket.AF_INET6, CLIENT, 0) as another:
        bench.ask(b"two", another)
        bench.loop.turn()
    assert bench.counted(REFUSALS) == {TOO_MANY_FLOWS: 1}


def test_a_flow_that_nobody_uses_ends_and_its_socket_with_it(bench: Bench) -> None:
    bench.udp.serve()
    bench.ask(b"one")
    bench.loop.turn()
    _, source = bench.server.recvfrom(100)
    idle = UdpSettings().idle
    bench.loop.pass_to(idle - 1)
    assert bench.counted(FLOWS) == {"": 1}
    bench.loop.pass_to(idle + 5)
    assert bench.counted(FLOWS) == {}
    with bench.bound(socket.AF_INET, "0.0.0.0", source[1]):
        pass  # the port is free again


def test_a_port_that_nobody_has_is_told_the_client(bench: Bench) -> None:
    bench.server.close()
    bench.udp.serve()
    bench.client.setsockopt(socket.IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR
    bench.ask(b"anybody?")
    bench.loop.turn()
    bench.loop.turn()  # the ICMP error
    with pytest.raises(ConnectionRefusedError):
        bench.client.recv(100)
