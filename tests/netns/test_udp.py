"""UDP through a daemon: programs and sockets of clients and servers in their own namespaces."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from socket import AF_INET, IPPROTO_RAW, SOCK_RAW
from typing import TYPE_CHECKING

import pytest

from faith.datagram.fragments import fragments
from faith.datagram.packet import UDP as UDP_PROTOCOL
from faith.datagram.udp.message import datagram
from faith.kernel.sockets.udp_sockets import piece_sender
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from faith.translation.address import number
from faith.translation.reasons import NO_SOURCE
from tests.faithd import WITHOUT_BPF
from tests.netns.datagrams import Echo, udp
from tests.netns.gateway import Gateway, metrics, reread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns
led_in_each_way = pytest.mark.parametrize("by", [(), WITHOUT_BPF], ids=["BPF", "nftables"])

PORT = 5555
IP_RECVTOS = 13  # linux/in.h
IPV6_RECVERR = 25  # else only a few errors are told
BASE = f"""
workers = 1
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "2323"
[metrics]
listen = "[::1]:9064"
"""
UDP = "[udp]\n"
MAPPED = "192.0.2.102"
ABSENT = "192.0.2.103"
EXPEDITED, LOW = 46 << 2, 8 << 2
ECT, CONGESTED, ECN = 2, 3, 3
CLASSES = {
    socket.AF_INET: (socket.IPPROTO_IP, IP_RECVTOS, socket.IP_TOS),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS),
}
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
"""


@pytest.fixture
def by() -> tuple[str, ...]:
    """What to start a faithd by: tests that are `led_in_each_way` have it without BPF too."""
    return ()


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path, by: tuple[str, ...]) -> Callable[[str], Gateway]:
    def gateway(text: str) -> Gateway:
        return Gateway(lab, tmp_path, text, by)

    return gateway


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[Echo]:
    with contextlib.closing(Echo(lab.server, SERVER, PORT)) as server:
        yield server


@pytest.fixture
def client(lab: ThreeHosts) -> Iterator[socket.socket]:
    with udp(lab.client, CLIENT) as sock:
        yield sock


def asked(sock: socket.socket, address: str, port: int = PORT, data: bytes = b"hello") -> bytes:
    """Return what comes back from *address*, and from no other."""
    sock.sendto(data, (address, port))
    answer, source = sock.recvfrom(65536)
    assert source[:2] == (address, port)
    return answer


def sent(lab: ThreeHosts) -> tuple[float, float]:
    """How many datagrams have gone to IPv4 and to IPv6: each is counted once it has gone."""
    counted = metrics(lab)
    v4, v6 = (counted[f'faith_udp_datagrams_total{{to="{leg}"}}'] for leg in ("v4", "v6"))
    return v4, v6


def silent(sock: socket.socket, seconds: float = 0.3) -> bool:
    """Return whether nothing arrives for a while."""
    return not select.select([sock], [], [], seconds)[0]


def narrow(host: Host) -> None:
    """Drop IPv6 packets of more than 1,280 octets on their way to *host*, and tell nobody."""
    chain = "chain c { type filter hook prerouting priority -450; meta length > 1280 drop; }"
    host.run(["nft", "-f", "-"], stdin=f"table ip6 narrow {{ {chain}; }}")  # before fragments join


def marked(
    sender: socket.socket,
    receiver: socket.socket,
    to: tuple[str, int],
    traffic_class: int,
    size: int = 5,
    expect: int | None = None,
) -> tuple[str, int]:
    """Send a datagram of that class, which *receiver* must see, or what to *expect*; return the
    source that it sees."""
    for sock in (sender, receiver):
        level, received, _ = CLASSES[sock.family]
        sock.setsockopt(level, received, 1)
    level, _, option = CLASSES[sender.family]
    sender.setsockopt(level, option, traffic_class)
    sender.sendto(os.urandom(size), to)
    data, ((_, _, octet),), _, source = receiver.recvmsg(1 << 16, 100)
    assert len(data) == size
    found = int.from_bytes(octet, sys.byteorder)
    assert found == (traffic_class if expect is None else expect)
    return source[0], source[1]


def told(sock: socket.socket) -> None:
    """Have *sock*, which is connected, send in vain, and be told so."""
    sock.send(b"x")
    with pytest.raises(OSError, match="route") as caught:
        sock.recv(100)
    assert caught.value.errno == errno.EHOSTUNREACH


def pieces_v4(octets: bytes, source: str, to: str) -> list[bytes]:
    """Return the fragments, of 1,000 octets each, of an IPv4 packet of UDP."""
    starts = range(0, len(octets), 1000)
    addresses = socket.inet_aton(source) + socket.inet_aton(to)
    return [
        struct.pack("!BBHHHBBH", 0x45, 0, 0, 0xABCD, more | start // 8, 64, UDP_PROTOCOL, 0)
        + addresses
        + octets[start : start + 1000]
        for start in starts
        for more in [0x2000 if start != starts[-1] else 0]
    ]


class TestToIPv4:
    @led_in_each_way
    def test_an_answer_comes_from_who_was_asked(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        assert asked(client, lab.mapped()) == b"hello"
        assert [host for host, _ in echo.sources] == [GATEWAY_V4]
        wait_until(lambda: sent(lab) == (1, 1), 5, "one datagram each way")
        assert metrics(lab)['faith_udp_bytes_total{to="v4"}'] == 5

    @led_in_each_way
    @pytest.mark.parametrize("size", [0, 1, 1232, 1400, 9000, 65000])
    def test_datagrams_of_every_size_pass(
        self,
        start: Callable[[str], Gateway],
        lab: ThreeHosts,
        echo: Echo,
        client: socket.socket,
        size: int,
    ) -> None:
        start(BASE + UDP)
        data = os.urandom(size)
        assert asked(client, lab.mapped(), data=data) == data

    @pytest.mark.parametrize("size", [1232, 1233, 1400, 1452])
    def test_answers_pass_a_narrow_link_that_loses_packet_too_big(
        self,
        start: Callable[[str], Gateway],
        lab: ThreeHosts,
        echo: Echo,
        client: socket.socket,
        size: int,
    ) -> None:
        """Nothing above ``mtu`` leaves the gateway, whatever its own link could carry."""
        narrow(lab.client)
        start(BASE + UDP)
        data = os.urandom(size)
        assert asked(client, lab.mapped(), data=data) == data

    @led_in_each_way
    def test_every_port_is_relayed_and_no_payload_is_changed(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        """There are no ALGs: not for TFTP or SIP, addresses of both sides or not."""
        start(BASE + UDP)
        ours, theirs = client.getsockname()[:2], (lab.mapped(), PORT)
        data = f"INVITE sip:{SERVER} SIP/2.0\r\nContact: {ours} {theirs} {GATEWAY_V4}".encode()
        for port in (1, 69, 5060, 65535):
            with contextlib.closing(Echo(lab.server, SERVER, port)):
                assert asked(client, lab.mapped(), port, data) == data

    @pytest.mark.parametrize("order", [1, -1], ids=["first to last", "last to first"])
    def test_fragments_in_any_order_are_one_datagram(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, order: int
    ) -> None:
        start(BASE + UDP)
        data = os.urandom(5000)
        with udp(lab.server, SERVER, PORT) as server, udp(lab.client, CLIENT, 7000) as client:
            ends = (number(CLIENT), 7000), (number(lab.mapped()), PORT)
            octets = b"".join(datagram(*ends, data))
            raw = lab.client.call(piece_sender)
            for piece in [*fragments(UDP_PROTOCOL, octets, 1280)][::order]:
                raw.sendmsg([piece], [], 0, (lab.mapped(), 0))
            raw.close()
            received, ours = server.recvfrom(1 << 16)
            assert received == data
            octets = b"".join(datagram((number(SERVER), PORT), (number(ours[0]), ours[1]), data))
            with lab.server.call(lambda: socket.socket(AF_INET, SOCK_RAW, IPPROTO_RAW)) as sock:
                for piece in pieces_v4(octets, SERVER, ours[0])[::order]:
                    sock.sendto(piece, ours)
            assert client.recv(1 << 16) == data

    def test_a_port_of_the_clients_has_one_port_whomever_it_sends_to(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        with contextlib.closing(Echo(lab.server, SERVER, PORT + 1)) as other:
            asked(client, lab.mapped())
            asked(client, lab.mapped(), PORT + 1)
            assert echo.sources == other.sources
            with udp(lab.client, CLIENT) as second:
                asked(second, lab.mapped())
            assert echo.sources[1] != echo.sources[0]

    def test_an_even_port_stays_even(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo
    ) -> None:
        start(BASE + UDP)
        for port in range(6000, 6010):
            with udp(lab.client, CLIENT, port) as sock:
                asked(sock, lab.mapped())
        alike = [port % 2 == source % 2 for port, (_, source) in enumerate(echo.sources, 6000)]
        assert sum(alike) >= 8  # it is tried, and not for ever

    def test_only_who_was_asked_is_let_in(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        lab.server.links.add_address("to-gateway", "192.0.2.81/24")
        faithd = start(BASE + UDP)
        asked(client, lab.mapped())
        with udp(lab.server, "192.0.2.81", 7) as stranger, udp(lab.server, SERVER, 7) as other:
            stranger.sendto(b"stranger", echo.sources[0])
            assert silent(client)
            other.sendto(b"another port", echo.sources[0])  # filtering depends on addresses only
            assert client.recvfrom(100)[1][:2] == (lab.mapped(), 7)
            reread(faithd, BASE + UDP + 'filtering = "endpoint"\n', "read again")
            stranger.sendto(b"stranger", echo.sources[0])
            assert client.recvfrom(100)[1][:2] == (lab.mapped("192.0.2.81"), 7)
        assert metrics(lab)['faith_udp_refusals_total{reason="filtered"}'] == 1

    @led_in_each_way
    def test_two_clients_of_the_gateway_reach_each_other(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        with udp(lab.client, CLIENT) as other:
            asked(client, lab.mapped())
            asked(other, lab.mapped())
            (_, ours), (_, theirs) = echo.sources
            gateway = lab.mapped(GATEWAY_V4)
            client.sendto(b"to you", (gateway, theirs))
            other.sendto(b"and to you", (gateway, ours))
            assert client.recvfrom(100) == (b"and to you", (gateway, theirs, 0, 0))
            client.sendto(b"again", (gateway, theirs))  # they have sent to us by now
            assert other.recvfrom(100) == (b"again", (gateway, ours, 0, 0))

    def test_what_the_rules_or_the_defaults_deny_is_refused(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        rules = '[access]\nrules = ["::/0 deny 192.0.2.81/32", "::/0 permit 0.0.0.0/0"]\n'
        start(BASE + UDP + rules)
        for denied in ("192.0.2.81", GATEWAY_V4, "127.0.0.1"):
            client.connect((lab.mapped(denied), PORT))
            client.send(b"x")
            with pytest.raises(PermissionError):  # administratively prohibited
                client.recv(100)
        client.connect((lab.mapped(), PORT))
        client.send(b"allowed")
        assert client.recv(100) == b"allowed"

    def test_a_flow_ends_after_its_time(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        start(BASE + UDP + f'short = 2\nshort_ports = "{PORT}"\n')
        asked(client, lab.mapped())
        wait_until(lambda: metrics(lab)["faith_udp_flows"] == 1, 2, "a flow")
        wait_until(lambda: metrics(lab)["faith_udp_flows"] == 0, 10, "no flow")
        asked(client, lab.mapped())
        assert echo.sources[0] != echo.sources[1]

    def test_limits_hold_for_a_client_and_for_all(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        faithd = start(BASE + UDP + "flows_per_client = 1\n")
        asked(client, lab.mapped())
        with udp(lab.client, CLIENT) as second:
            second.connect((lab.mapped(), PORT))
            second.send(b"x")
            with pytest.raises(PermissionError):
                second.recv(100)
            reread(faithd, BASE + UDP, "read again")
            second.send(b"now")
            assert second.recv(100) == b"now"
        asked(client, lab.mapped())
        assert metrics(lab)['faith_udp_refusals_total{reason="too many flows of the client"}'] == 1


class TestTrafficClass:
    """DSCP and ECN of each datagram are on the other leg what they were (RFC 7915 §4.1, §5.1)."""

    @led_in_each_way
    @pytest.mark.parametrize("size", [5, 1400, 9000])  # the last two are fragments
    def test_it_is_carried_both_ways(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket, size: int
    ) -> None:
        start(BASE + UDP)
        with udp(lab.server, SERVER, PORT) as server:
            for there, back in ((0, 0xFF), (EXPEDITED | ECT, 0), (0, LOW | CONGESTED), (ECT, ECT)):
                source = marked(client, server, (lab.mapped(), PORT), there, size)
                marked(server, client, source, back, size)

    @led_in_each_way
    @pytest.mark.parametrize("size", [5, 1400, 9000])
    def test_it_is_carried_both_ways_from_ipv4(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket, size: int
    ) -> None:
        start(BASE + UDP + MAP)
        with udp(lab.client, CLIENT, PORT) as host, udp(lab.server, SERVER) as node:
            for there, back in ((0, 0xFF), (EXPEDITED | ECT, 0), (0, LOW | CONGESTED), (ECT, ECT)):
                source = marked(node, host, (MAPPED, PORT), there, size)
                marked(host, node, source, back, size)

    def test_it_is_carried_to_a_mapped_host_and_between_clients(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        start(BASE + UDP + MAP)
        with udp(lab.server, SERVER, PORT) as server, udp(lab.client, CLIENT) as other:
            _, ours = source = marked(client, server, (lab.mapped(), PORT), 0)
            marked(server, client, source, LOW)  # arrives at the socket of mapped addresses
            _, theirs = marked(other, server, (lab.mapped(), PORT), 0)
            other.sendto(b"lets it in", (lab.mapped(MAPPED), ours))
            marked(client, other, (lab.mapped(MAPPED), theirs), EXPEDITED | ECT)

    def test_without_dscp_ecn_remains_and_a_reload_is_for_flows_that_are_open(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        faithd = start(BASE + UDP + MAP)
        with (
            udp(lab.server, SERVER, PORT) as server,
            udp(lab.client, CLIENT, PORT) as host,
            udp(lab.server, SERVER) as node,
        ):
            for text, left in (("", 0xFF), ("dscp = false", ECN), ("dscp = true", 0xFF)):
                if text:
                    faithd.reload(f"{BASE}{UDP}{text}\n{MAP}")
                class_ = EXPEDITED | ECT
                source = marked(client, server, (lab.mapped(), PORT), class_, expect=class_ & left)
                marked(server, client, source, class_, expect=class_ & left)
                source = marked(node, host, (MAPPED, PORT), class_, expect=class_ & left)
                marked(host, node, source, class_, expect=class_ & left)


class TestSourceThatIsAbsent:
    """An address that the host lacks is told the client, as a host that is not there."""

    RULE = f'[access]\nrules = ["::/0 permit 0.0.0.0/0 {ABSENT}"]\n'
    OWN = f'[[source]]\nclients = ["{CLIENT}/128"]\naddresses = ["{ABSENT}"]\none_to_one = true\n'

    @pytest.mark.parametrize("text", [RULE, OWN], ids=["rule", "one to one"])
    def test_the_client_is_told_until_the_address_comes_and_when_it_goes(
        self,
        start: Callable[[str], Gateway],
        lab: ThreeHosts,
        echo: Echo,
        client: socket.socket,
        text: str,
    ) -> None:
        gateway = start(BASE + UDP + text)
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        client.connect((lab.mapped(), PORT))
        told(client)
        gateway.wait_said(NO_SOURCE)
        assert metrics(lab)["faith_udp_flows"] == 0
        lab.gateway.links.add_address("to-server", f"{ABSENT}/24")
        client.send(b"now")
        assert client.recv(100) == b"now"
        lab.gateway.run(["ip", "address", "del", f"{ABSENT}/24", "dev", "to-server"])
        told(client)
        assert gateway.counted("faith_udp_refusals_total")[NO_SOURCE] == 2
        lab.gateway.links.add_address("to-server", f"{ABSENT}/24")
        client.send(b"again")
        assert client.recv(100) == b"again"
        assert {host for host, _ in echo.sources} == {ABSENT}


class TestErrors:
    def test_a_port_that_nobody_has_is_refused(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        client.connect((lab.mapped(), PORT))
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
        assert metrics(lab)['faith_udp_errors_total{from="v4"}'] == 1

    def test_a_host_that_is_not_there_is_unreachable(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        client.settimeout(8)
        client.connect((lab.mapped("192.0.2.99"), PORT))
        client.send(b"x")
        with pytest.raises(OSError, match="unreachable") as caught:
            client.recv(100)
        assert caught.value.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)

    def test_a_client_that_listens_no_more_is_told_the_server(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        with udp(lab.server, SERVER, PORT) as server:
            client.sendto(b"question", (lab.mapped(), PORT))
            server.connect(server.recvfrom(100)[1])
            client.close()
            server.send(b"answer")
            with pytest.raises(ConnectionRefusedError):
                server.recv(100)
        assert metrics(lab)['faith_udp_errors_total{from="v6"}'] == 1

    def test_a_network_without_a_route_is_unreachable_at_once(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, client: socket.socket
    ) -> None:
        start(BASE + UDP)
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        client.connect((lab.mapped("198.51.100.1"), PORT))
        client.send(b"x")
        with pytest.raises(OSError, match="unreachable"):
            client.recv(100)

    @led_in_each_way
    def test_a_probe_of_one_hop_sees_the_gateway_and_one_of_two_the_server(
        self,
        start: Callable[[str], Gateway],
        lab: ThreeHosts,
        need: Callable[[str], str],
    ) -> None:
        start(BASE + UDP)
        said = lab.client.run(
            [need("traceroute"), "-6", "-n", "-q", "1", "-w", "2", "-m", "4", lab.mapped()]
        ).stdout.splitlines()
        assert [line.split()[1] for line in said[1:]] == [GATEWAY_V6, lab.mapped()]


class TestWhenItEnds:
    @led_in_each_way
    def test_without_a_daemon_the_guard_refuses(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        lab.gateway.run([sys.executable, "-m", "faith.cli.faith", "-e", "-p", PREFIX])
        faithd = start(BASE + UDP)
        asked(client, lab.mapped())
        faithd.signal(signal.SIGKILL)
        faithd.process.wait(5)
        client.connect((lab.mapped(), PORT))

        def refused() -> bool:
            client.send(b"x")
            try:
                client.recv(100)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                return False
            return False

        wait_until(refused, 10, "a refusal")

    @led_in_each_way
    def test_it_can_be_turned_off_and_on(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        faithd = start(BASE)
        client.connect((lab.mapped(), PORT))
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
        reread(faithd, BASE + UDP, "read again")
        client.send(b"on")
        assert client.recv(100) == b"on"
        reread(faithd, BASE, "read again")
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)

    @led_in_each_way
    def test_an_upgrade_keeps_flows(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        faithd = start(BASE + UDP)
        asked(client, lab.mapped())
        faithd.signal(signal.SIGUSR2)
        until = time.monotonic() + 20
        while "everything is handed over" not in faithd.said and time.monotonic() < until:
            assert asked(client, lab.mapped(), data=os.urandom(100))
        faithd.wait_said("everything is handed over")
        asked(client, lab.mapped())
        assert len(set(echo.sources)) == 1
        assert sent(lab)[0] == len(echo.sources)


class TestToIPv6:
    """The lab's hosts change their parts: its server, which has no IPv6, is the client here."""

    @led_in_each_way
    def test_an_answer_comes_from_the_mapped_address(
        self, start: Callable[[str], Gateway], lab: ThreeHosts
    ) -> None:
        start(BASE + UDP + MAP)
        with (
            contextlib.closing(Echo(lab.client, CLIENT, PORT)) as host,
            udp(lab.server, SERVER, 7000) as node,
        ):
            assert asked(node, MAPPED) == b"hello"
            assert host.sources == [(lab.mapped(SERVER), 7000)]
            for size in (0, 1, 1472, 30000):
                data = os.urandom(size)
                assert asked(node, MAPPED, data=data) == data
        wait_until(lambda: sent(lab) == (5, 5), 5, "five datagrams each way")

    def test_a_port_may_stand_for_another(
        self, start: Callable[[str], Gateway], lab: ThreeHosts
    ) -> None:
        one_port = MAP + 'ports = "5300"\nto_port = 5555\nprotocols = ["udp"]\n'
        start(BASE + UDP + one_port)
        with (
            contextlib.closing(Echo(lab.client, CLIENT, PORT)),
            udp(lab.server, SERVER) as node,
        ):
            assert asked(node, MAPPED, 5300) == b"hello"
            node.connect((MAPPED, PORT))
            node.send(b"x")
            with pytest.raises(OSError, match="No route to host"):
                node.recv(100)

    @led_in_each_way
    def test_a_mapped_host_sends_from_its_address_and_port(
        self, start: Callable[[str], Gateway], lab: ThreeHosts, echo: Echo, client: socket.socket
    ) -> None:
        start(BASE + UDP + MAP)
        asked(client, lab.mapped())
        assert echo.sources == [(MAPPED, client.getsockname()[1])]

    def test_a_client_that_listens_no_more_is_told_the_host(
        self, start: Callable[[str], Gateway], lab: ThreeHosts
    ) -> None:
        start(BASE + UDP + MAP)
        with udp(lab.client, CLIENT, PORT) as host, udp(lab.server, SERVER) as node:
            node.sendto(b"question", (MAPPED, PORT))
            host.connect(host.recvfrom(100)[1])
            node.close()
            host.send(b"answer")
            with pytest.raises(ConnectionRefusedError):
                host.recv(100)
        assert metrics(lab)['faith_udp_errors_total{from="v4"}'] == 1

    def test_a_mapped_server_that_asks_others_is_still_there_for_everybody(
        self, start: Callable[[str], Gateway], lab: ThreeHosts
    ) -> None:
        start(BASE + UDP + MAP)
        lab.server.links.add_address("to-gateway", "192.0.2.81/24")
        with (
            contextlib.closing(Echo(lab.client, CLIENT, PORT)) as host,
            udp(lab.server, SERVER) as node,
            udp(lab.server, "192.0.2.81") as stranger,
        ):
            host.sock.sendto(b"a question", (lab.mapped(), node.getsockname()[1]))
            assert node.recvfrom(100) == (b"a question", (MAPPED, PORT))
            assert asked(stranger, MAPPED) == b"hello"

    def test_a_port_that_nobody_has_is_refused(
        self, start: Callable[[str], Gateway], lab: ThreeHosts
    ) -> None:
        start(BASE + UDP + MAP)
        with udp(lab.server, SERVER) as node:
            node.connect((MAPPED, PORT))
            node.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                node.recv(100)
        assert metrics(lab)['faith_udp_errors_total{from="v6"}'] == 1

    @led_in_each_way
    def test_an_upgrade_keeps_flows(self, start: Callable[[str], Gateway], lab: ThreeHosts) -> None:
        faithd = start(BASE + UDP + MAP)
        with (
            contextlib.closing(Echo(lab.client, CLIENT, PORT)) as host,
            udp(lab.server, SERVER) as node,
        ):
            asked(node, MAPPED)
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said("everything is handed over", seconds=20)
            host.sock.sendto(b"late", (*host.sources[0], 0, 0))
            assert node.recvfrom(100) == (b"late", (MAPPED, PORT))
