"""TCP end to end by the kernel path: what programs, and TCP itself, have of it."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX, SERVER
from tests.netns import flow_talk
from tests.netns.flow_lab import (
    BASE,
    FAR_SERVER,
    FROM_OWN,
    GATEWAY_FAR_V4,
    GATEWAY_FAR_V6,
    OWN,
    ROUTER4,
    Counter,
    Errors,
    Routed,
    add_own,
    brain,
    give_up_soon,
    routed,
    sessions,
    why_not,
)
from tests.netns.flow_talk import Talker, down, echo, say, up
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Server, connect, connect_from
from tests.peers import servers
from tests.peers.site import Site, digest, write_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Network, ThreeHosts

    Need = Callable[[str], str]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

MEGABYTES = 1_000_000
UNREACHABLE_V6, TIME_EXCEEDED_V6, TIME_EXCEEDED_V4 = 1, (3, 0), (11, 0)
"""Types of ICMP errors, and codes: in transit."""
UNICAST_HOPS, TTL, FASTOPEN_CONNECT = 16, 2, 30
SEGMENTS_IN = 140
"""The offset of tcpi_segs_in in struct tcp_info."""


@pytest.fixture
def gateway(lab: ThreeHosts, tmp_path: Path) -> Gateway:
    return Gateway(lab, tmp_path, BASE)


@pytest.fixture
def talker(lab: ThreeHosts) -> Iterator[Talker]:
    with contextlib.closing(Talker(lab.server)) as made:
        yield made


@pytest.fixture
def far(network: Network, tmp_path: Path) -> Iterator[Routed]:
    """Hosts behind routers, a gateway, and a server that talks at the far end."""
    lab = routed(network)
    Gateway(lab, tmp_path, BASE)
    with contextlib.closing(Talker(lab.far_server)):
        yield lab


def site(lab: ThreeHosts, name: str, directory: Path, need: Need) -> Site:
    (directory / name).mkdir()
    return Site(getattr(lab, name), directory / name, need)


# -- programs ------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.usefixtures("gateway")
def test_curl_has_a_file_from_nginx(lab: ThreeHosts, tmp_path: Path, need: Need) -> None:
    client, server = (site(lab, name, tmp_path, need) for name in ("client", "server"))
    payload = write_payload(tmp_path / "payload", 100)
    servers.web_server(server, payload)
    file = client.directory / "curled"
    client.run("curl", "-q", "-sS", "--fail", "-o", file, f"http://[{lab.mapped()}]/payload")
    assert digest(file) == payload.digest


@pytest.mark.peers
@pytest.mark.usefixtures("gateway")
def test_iperf3_both_ways(lab: ThreeHosts, tmp_path: Path, need: Need) -> None:
    client, server = (site(lab, name, tmp_path, need) for name in ("client", "server"))
    servers.iperf_server(server)
    for direction in ((), ("--reverse",)):
        client.run("iperf3", "--client", lab.mapped(), "--bytes", "50M", *direction)


@pytest.mark.peers
@pytest.mark.usefixtures("gateway")
def test_ssh_logs_in_and_moves_octets_both_ways(
    lab: ThreeHosts, tmp_path: Path, need: Need
) -> None:
    client, server = (site(lab, name, tmp_path, need) for name in ("client", "server"))
    configuration = servers.ssh_server(server, client)
    payload = write_payload(tmp_path / "payload", 20)
    ssh = f"{need('ssh')} -F {configuration} {lab.mapped()}"
    back = client.directory / "back"
    client.host.run(["sh", "-c", f"{ssh} 'cat; echo >&2 $SSH_CLIENT' <{payload.path} >{back}"])
    assert digest(back) == payload.digest


@pytest.mark.peers
@pytest.mark.usefixtures("gateway")
def test_curl_goes_on_to_the_second_address(lab: ThreeHosts, tmp_path: Path, need: Need) -> None:
    """A relay that accepts first would keep it at the first one (RFC 8305)."""
    client, server = (site(lab, name, tmp_path, need) for name in ("client", "server"))
    servers.web_server(server, write_payload(tmp_path / "payload", 1))
    dead, refusing, live = lab.mapped("192.0.2.77"), lab.mapped("192.0.2.81"), lab.mapped()
    lab.server.links.add_address("to-gateway", "192.0.2.81/24")
    rule = "ip daddr 192.0.2.81 tcp dport 80"
    Counter(lab.server, "input", rule, "reject with tcp reset")
    give_up_soon(lab.gateway, "to-server")
    for first in (refusing, dead):
        to = ["--resolve", f"two.test:80:[{first}],[{live}]", "http://two.test/payload"]
        words = ["-q", "-sS", "--fail", "-o", "/dev/null", "-w", "%{remote_ip}"]
        assert client.run("curl", *words, "--connect-timeout", "20", *to) == live


# -- TCP -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gateway")
def test_either_side_may_close_first(lab: ThreeHosts, talker: Talker) -> None:
    up(connect(lab), 30 * MEGABYTES)
    down(connect(lab), 30 * MEGABYTES, late=5000)
    wait_until(lambda: talker.late == 5000, 5, "what is sent after the server's FIN")
    assert not talker.failed


@pytest.mark.usefixtures("gateway")
def test_an_urgent_octet_keeps_its_place_both_ways(lab: ThreeHosts) -> None:
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        for sender, receiver in ((client, peer), (peer, client)):
            sender.send(b"12345")
            sender.send(b"X", socket.MSG_OOB)
            sender.send(b"6789")
            assert receiver.recv(100, socket.MSG_WAITALL | socket.MSG_PEEK)[:5] == b"12345"
            wait_until(lambda r=receiver: _urgent(r) == b"X", 5, "the urgent octet")  # type: ignore[misc]
            assert receiver.recv(100) == b"12345"  # reading stops at the mark
            assert receiver.recv(4, socket.MSG_WAITALL) == b"6789"


def _urgent(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1, socket.MSG_OOB | socket.MSG_PEEK)
    except OSError:  # not yet
        return b""


@pytest.mark.usefixtures("gateway")
def test_keep_alive_probes_go_end_to_end(lab: ThreeHosts) -> None:
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((4, 1), (5, 1), (6, 2)):  # idle, interval, count
            client.setsockopt(socket.IPPROTO_TCP, option, value)
        before = segments_in(peer)
        wait_until(lambda: segments_in(peer) >= before + 2, 8, "two probes at the server")
        assert answers_each_other(client, peer)
        Counter(lab.server, "input", f"tcp dport {PORT}", "drop")
        client.settimeout(None)
        with pytest.raises(TimeoutError) as ended:  # the kernel's, of the probes
            client.recv(1)
        assert ended.value.errno == errno.ETIMEDOUT


def segments_in(sock: socket.socket) -> int:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    found: int = struct.unpack_from("=I", info, SEGMENTS_IN)[0]
    return found


def answers_each_other(one: socket.socket, other: socket.socket) -> bool:
    one.sendall(b"x")
    there = other.recv(1)
    other.sendall(b"y")
    return there + one.recv(1) == b"xy"


@pytest.mark.usefixtures("gateway", "talker")
def test_tcp_fast_open_falls_back(lab: ThreeHosts) -> None:
    for host in (lab.client, lab.server):
        host.sysctl("net.ipv4.tcp_fastopen", 3)
    for _ in range(2):  # a second time, when a cookie might be known
        with lab.client.call(socket.socket, socket.AF_INET6) as client:
            client.settimeout(5)
            client.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
            client.connect((lab.mapped(), PORT))
            echo(client)


# -- what the server's network says ---------------------------------------------------------------


@pytest.mark.usefixtures("gateway", "talker")
def test_a_server_that_is_silent_is_asked_again_by_the_client(lab: ThreeHosts) -> None:
    silence = Counter(lab.server, "input", f"tcp dport {PORT} tcp flags syn", "drop")
    made: list[socket.socket] = []
    trying = threading.Thread(target=lambda: made.append(connect(lab)))
    trying.start()
    wait_until(lambda: silence.packets >= 2, 10, "the client's second SYN")
    assert not made
    silence.remove()
    trying.join()
    with made[0] as client:
        echo(client)
    assert metrics(lab)["faith_flows_begun_total"] == 1


def test_a_dead_host_behind_a_router_is_unreachable(far: Routed) -> None:
    give_up_soon(far.router4, "to-far-server")
    with Errors(far.far_client) as errors:
        with pytest.raises(OSError, match=r"unreachable|No route"):
            connect_from(far.far_client, far.mapped("198.51.100.77"))
        assert errors.next()[:2] == (far.mapped(ROUTER4), UNREACHABLE_V6)


@pytest.mark.usefixtures("gateway", "talker")
def test_a_firewall_of_the_gateway_that_drops_is_silent(lab: ThreeHosts) -> None:
    dropped = Counter(lab.gateway, "input", f"tcp dport {PORT}", "drop")
    with pytest.raises(TimeoutError):
        lab.client.call(socket.create_connection, (lab.mapped(), PORT), 0.5)
    assert dropped.packets
    assert metrics(lab)['faith_flow_syns_total{kind="new"}'] == 0
    dropped.remove()
    with connect(lab) as client:
        echo(client)


def test_each_router_is_a_hop_for_the_client(far: Routed) -> None:
    """What makes traceroute work: the gateway answers, and router4 by its mapped address."""
    for hops, sender in ((2, GATEWAY_FAR_V6), (3, far.mapped(ROUTER4))):
        with Errors(far.far_client) as errors:
            with pytest.raises(OSError, match="No route to host"):
                connect_with_hops(far, hops)
            assert errors.next()[:3] == (sender, *TIME_EXCEEDED_V6)
    with connect_with_hops(far, 4) as client:
        echo(client)
        client.setsockopt(socket.IPPROTO_IPV6, UNICAST_HOPS, 2)  # in the middle of a flow
        with Errors(far.far_client) as errors:
            client.sendall(b"x")
            assert errors.next()[:3] == (GATEWAY_FAR_V6, *TIME_EXCEEDED_V6)


def test_each_router_is_a_hop_for_the_server(network: Network, tmp_path: Path) -> None:
    far = routed(network)
    Gateway(far, tmp_path, BASE)
    server = Server(far.far_server)
    at_router6 = Counter(far.router6, "output", "icmpv6 type time-exceeded")
    with contextlib.closing(server.listener), far.connect(), server.accept() as peer:
        for hops, by_router6 in ((2, False), (3, True)):
            peer.setsockopt(socket.IPPROTO_IP, TTL, hops)
            with Errors(far.far_server, socket.AF_INET) as errors:
                peer.sendall(b"x")
                assert errors.next()[:3] == (GATEWAY_FAR_V4, *TIME_EXCEEDED_V4)
            assert bool(at_router6.packets) == by_router6


def connect_with_hops(far: Routed, hops: int) -> socket.socket:
    sock = far.far_client.call(socket.socket, socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, UNICAST_HOPS, hops)
    sock.settimeout(5)
    try:
        sock.connect((far.mapped(FAR_SERVER), PORT))
    except OSError:
        sock.close()
        raise
    return sock


# -- neighbourhood -------------------------------------------------------------------------------


@pytest.mark.usefixtures("talker")
def test_neither_forwarding_nor_a_forward_policy_is_asked(lab: ThreeHosts, tmp_path: Path) -> None:
    """And strict reverse path filters do not mind, in any direction."""
    for host in (lab.gateway, lab.server):
        for name in ("all", "default"):
            host.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)
    drop = "table inet t { chain c { type filter hook forward priority 0; policy drop; }; }"
    lab.gateway.run(["nft", "-f", "-"], stdin=drop)
    Gateway(lab, tmp_path, BASE)
    assert lab.gateway.sysctl("net.ipv6.conf.all.forwarding") == "0"
    flow_talk.both(lambda: connect(lab))


@pytest.mark.usefixtures("gateway", "talker")
def test_connection_tracking_sees_no_half_of_a_flow(lab: ThreeHosts) -> None:
    def sent(state: str) -> Counter:
        return Counter(
            lab.gateway, "output", f"ip daddr {SERVER} tcp dport {PORT} ct state {state}"
        )

    untracked, new = sent("untracked"), sent("new")
    with connect(lab) as client:
        echo(client)
    assert (untracked.packets, new.packets) == (1, 0)  # the SYN; the rest is the program's


@pytest.mark.usefixtures("talker")
def test_a_prefix_that_faith_reserved_has_a_kernel_path(
    lab: ThreeHosts, reserved: str, tmp_path: Path
) -> None:
    Gateway(lab, tmp_path, BASE)
    assert reserved == PREFIX
    with connect(lab) as client:
        echo(client)
        (listed,) = sessions(lab)
        assert listed["id"].startswith("k")


@pytest.mark.usefixtures("gateway", "talker")
def test_flows_and_the_gateways_own_connections_do_not_meet(lab: ThreeHosts) -> None:
    """Though they have one source address."""
    with connect(lab) as flow, connect_from(lab.gateway, SERVER) as own:
        for connection in (flow, own):
            echo(connection)
        flow_talk.both(lambda: connect_from(lab.gateway, SERVER), 100_000)
        for connection in (flow, own):
            say(connection)


def test_a_port_serves_many_servers(lab: ThreeHosts, tmp_path: Path) -> None:
    add_own(lab)
    lab.server.links.add_address("to-gateway", "192.0.2.81/24")
    Gateway(lab, tmp_path, BASE + FROM_OWN + 'ports = "5000"\n')
    with (
        contextlib.closing(Talker(lab.server)) as talker,
        connect(lab) as one,
        connect(lab, lab.mapped("192.0.2.81")) as other,
    ):
        echo(one)
        echo(other)
        assert talker.peers == [(OWN, 5000)] * 2
        assert why_not(lab) == errno.ECONNREFUSED


@pytest.mark.usefixtures("real_root")
def test_who_decides_has_no_privilege(gateway: Gateway) -> None:
    lines = Path(f"/proc/{brain(gateway)}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["Uid"].split() == status["Uid"].split()[:1] * 4 != ["0"] * 4
