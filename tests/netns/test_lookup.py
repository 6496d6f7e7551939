from __future__ import annotations

import ipaddress
import os
import select
import signal
import socket
import struct
import subprocess
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.bpf import bpf
from faith.kernel.process import capabilities
from faith.kernel.sockets.tcp_sockets import IPV6_FREEBIND
from faith.kernel.steering.lookup import CAPABILITIES, Lookup
from faith.translation.ports import ALL_PORTS, Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.netns.conftest import Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed", "gateway")]

PREFIX = "2001:db8:ffff::/96"
NETWORK = "198.51.100.0/24"
LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
OWN: dict[int, str] = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8:6::1"}
MAPPED: dict[int, str] = {
    socket.AF_INET: "198.51.100.102",
    socket.AF_INET6: "2001:db8:ffff::c633:6402",
}
BESIDE: dict[int, str] = {
    socket.AF_INET: "198.51.101.102",
    socket.AF_INET6: "2001:db8:fffe::c633:6402",
}
STEERED: dict[int, str] = {socket.AF_INET: NETWORK, socket.AF_INET6: PREFIX}

families = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["4", "6"])
kinds = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])


@pytest.fixture
def gateway(private_network: None) -> None:
    """The networks, and more around them, are local; the gateway has addresses of its own."""
    for network in ("2001:db8::/32", "198.51.0.0/16"):
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)
    for address in ("192.0.2.1/24", "2001:db8:6::1/64"):
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def net(text: str) -> tuple[int, int]:
    network = ipaddress.ip_network(text)
    return int(network.network_address), network.prefixlen


def bound(undo: ExitStack, family: int, kind: int, *, shared: bool = False) -> socket.socket:
    """A socket on loopback as ours are, and of a group if *shared*."""
    sock = undo.enter_context(socket.socket(family, kind))
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    sock.bind((LOOPBACK[family], 20000 if shared else 0))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def reaches(sock: socket.socket, address: str, port: int) -> bool:
    """Whether a connection or a datagram for *port* of *address* comes to *sock*."""
    with socket.socket(sock.family, sock.type) as client:
        client.settimeout(2)
        try:
            client.connect((address, port))
            client.send(b"?")
        except ConnectionRefusedError:
            return False
        if not select.select([sock], [], [], 0.2)[0]:
            return False
        if sock.type == socket.SOCK_STREAM:
            with sock.accept()[0] as accepted:
                return bool(accepted.getsockname()[:2] == (address, port))
        _, source = sock.recvfrom(10)
        return bool(source[:2] == client.getsockname()[:2])


@families
@kinds
def test_networks_and_ports_come_to_the_socket_and_nothing_beside_them(
    undo: ExitStack, family: int, kind: int
) -> None:
    sock = bound(undo, family, kind)
    with Lookup.create(sock, Ports([(7, 8), (32768, 65535)]), [net(STEERED[family])]) as _:
        for port, steered in ((6, 0), (7, 1), (8, 1), (9, 0), (32767, 0), (32768, 1), (65535, 1)):
            assert reaches(sock, MAPPED[family], port) == steered
        assert not reaches(sock, BESIDE[family], 7)
        assert not reaches(sock, OWN[family], 7)
    assert not reaches(sock, MAPPED[family], 7)


@families
@kinds
def test_a_hole_in_a_network_is_the_hosts_own(undo: ExitStack, family: int, kind: int) -> None:
    sock = bound(undo, family, kind)
    own, steered = MAPPED[family], net(STEERED[family])
    hole = net(f"{own}/{32 if family == socket.AF_INET else 128}")
    other = str(ipaddress.ip_address(own) + 1)
    with Lookup.create(sock, ALL_PORTS, [steered], [hole]) as lookup:
        assert not reaches(sock, own, 80)
        assert reaches(sock, other, 80)
        lookup.replace([steered])
        assert reaches(sock, own, 80)
        lookup.replace([hole])
        assert reaches(sock, own, 80)
        assert not reaches(sock, other, 80)


@families
@kinds
def test_one_protocol_leaves_the_other_alone(undo: ExitStack, family: int, kind: int) -> None:
    sock = bound(undo, family, kind)
    other_kind = ({socket.SOCK_STREAM, socket.SOCK_DGRAM} - {kind}).pop()
    bystander = undo.enter_context(socket.socket(family, other_kind))
    bystander.bind(("", 4000))
    if other_kind == socket.SOCK_STREAM:
        bystander.listen()
    with Lookup.create(sock, ALL_PORTS, [net(STEERED[family])]):
        assert reaches(sock, MAPPED[family], 4000)
        assert reaches(bystander, MAPPED[family], 4000)


@families
@kinds
def test_the_kernel_goes_on_to_choose_among_a_group(
    undo: ExitStack, family: int, kind: int
) -> None:
    group = [bound(undo, family, kind, shared=True) for _ in range(2)]
    came: Counter[int] = Counter()
    with Lookup.create(group[0], ALL_PORTS, [net(STEERED[family])]), ExitStack() as clients:
        for port in range(2000, 2040):
            client = clients.enter_context(socket.socket(family, kind))
            client.connect((MAPPED[family], port))
            client.send(b"?")
            (ready,), _, _ = select.select(group, [], [], 2)
            came[group.index(ready)] += 1
            if kind == socket.SOCK_STREAM:
                ready.accept()[0].close()
            else:
                ready.recv(10)
    assert set(came) == {0, 1}


@families
def test_a_connected_udp_socket_keeps_what_is_its_own(undo: ExitStack, family: int) -> None:
    sock = bound(undo, family, socket.SOCK_DGRAM)
    with Lookup.create(sock, ALL_PORTS, [net(STEERED[family])]):
        client = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        client.bind((OWN[family], 0))
        flow = undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            flow.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        flow.bind((MAPPED[family], 53))
        client.sendto(b"to whom is not connected", (MAPPED[family], 53))
        assert sock.recv(100) == b"to whom is not connected"
        flow.connect(client.getsockname()[:2])
        client.sendto(b"to whom is", (MAPPED[family], 53))
        assert flow.recv(100) == b"to whom is"


@families
@kinds
def test_it_can_be_resumed_from_its_state(undo: ExitStack, family: int, kind: int) -> None:
    sock = bound(undo, family, kind)
    first = Lookup.create(sock, ALL_PORTS, [net(STEERED[family])])
    state = first.state()
    again = Lookup.adopt(state, sock)
    assert again.state() == state
    again.replace([net(f"{BESIDE[family]}")])
    assert not reaches(sock, MAPPED[family], 80)
    assert reaches(sock, BESIDE[family], 80)
    again.close()
    assert not reaches(sock, BESIDE[family], 80)


def test_it_goes_with_its_process(undo: ExitStack, fork: Fork) -> None:
    bystander = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    bystander.bind(("", 4000))

    def body(report: Report) -> object:
        with ExitStack() as mine:
            sock = bound(mine, socket.AF_INET, socket.SOCK_DGRAM)
            lookup = Lookup.create(sock, ALL_PORTS, [net(NETWORK)])
            report("ready")
            signal.pause()
            return lookup

    child = fork(body)
    child.report()
    assert not reaches(bystander, MAPPED[socket.AF_INET], 4000)
    child.kill()
    assert reaches(bystander, MAPPED[socket.AF_INET], 4000)


def test_a_hundred_thousand_networks_fit(undo: ExitStack) -> None:
    sock = bound(undo, socket.AF_INET, socket.SOCK_STREAM)
    base = int(ipaddress.ip_address("198.51.0.0"))
    scattered = [(10 << 24 | 2 * number, 32) for number in range(100_000)]
    with Lookup.create(sock, ALL_PORTS, [*scattered, (base, 32)]) as lookup:
        assert reaches(sock, "198.51.0.0", 80)
        lookup.replace(scattered)
        assert not reaches(sock, "198.51.0.0", 80)


@pytest.mark.parametrize("missing", ["", *CAPABILITIES])
def test_the_declared_capabilities_are_enough_and_each_is_needed(
    undo: ExitStack, fork: Fork, missing: str
) -> None:
    sock = bound(undo, socket.AF_INET, socket.SOCK_DGRAM)

    def body(report: Report) -> object:
        capabilities.drop(capabilities.default_user(), keep=set(CAPABILITIES) - {missing})
        try:
            Lookup.create(sock, ALL_PORTS, []).close()
        except PermissionNeeded as error:
            return error.capabilities
        return ("",)

    assert fork(body).report() == (missing,)


def test_close_gives_everything_back(undo: ExitStack) -> None:
    sock = bound(undo, socket.AF_INET, socket.SOCK_STREAM)
    before = os.listdir("/proc/self/fd")
    Lookup.create(sock, ALL_PORTS, [net(NETWORK)]).close()
    assert os.listdir("/proc/self/fd") == before


def test_a_program_that_somebody_detaches_is_told_of(undo: ExitStack) -> None:
    sock = bound(undo, socket.AF_INET6, socket.SOCK_STREAM)
    lookup = undo.enter_context(Lookup.create(sock, ALL_PORTS, [net(PREFIX)]))
    assert lookup.is_attached()
    bpf._bpf(34, struct.pack("=I", lookup.link.fd))  # BPF_LINK_DETACH
    assert not lookup.is_attached()
