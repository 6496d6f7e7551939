"""What RFC 6146, RFC 7915 and RFC 5382 ask of the kernel path, by a whole daemon: the points that
need real hosts.  docs/kernel-path-conformance.rst has all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from faith.datagram.checksum import checksum, ones_sum
from faith.datagram.packet import ICMP, ICMPV6
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from faith.translation.prefix import Prefix
from tests.netns.flow_lab import (
    BASE,
    FROM_OWN,
    OWN,
    Counter,
    Errors,
    Routed,
    add_own,
    numbers,
    open_maps,
    program_counters,
    routed,
    send_raw,
    sessions,
)
from tests.netns.flow_talk import Talker, echo, hear, octets, say
from tests.netns.flows import ACK, PSH, RST, SYN, Segment, ipv4_header, packed
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Echo, Server, answers, connect, connect_from, refuses

if TYPE_CHECKING:
    from pathlib import Path

    from faith.lab import Network, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

INSIDE = "2001:db8:ffff::192.0.2.77"
"""A mapped address, as a client's own."""
NEVER_DF = 0
"""IP_PMTUDISC_DONT: packets may be fragmented on their way."""
MORE, DO_NOT_FRAGMENT = 0x2000, 0x4000
ROUTING, TCP = 43, 6
LOOSE_ROUTE, NOTHING = 131, 1  # IPv4 options
IPV6_DSTOPTS, IP_RECVERR = 59, 11
TEXT = octets(100)


@pytest.fixture
def far(network: Network) -> Routed:
    return routed(network)


def next_segment(sock: socket.socket, text: bytes = TEXT) -> Segment:
    """The segment that would be the next one of *sock*."""
    (source, port), (to, to_port) = sock.getsockname()[:2], sock.getpeername()[:2]
    return Segment(port, to_port, ACK | PSH, *numbers(sock), text, source=source, to=to)


# -- RFC 6146 section 3.5: filtering --------------------------------------------------------------


def test_a_client_inside_the_prefix_hears_nothing(lab: ThreeHosts, tmp_path: Path) -> None:
    gateway = Gateway(lab, tmp_path, BASE)
    with (
        Counter(lab.gateway, "output", f"ip6 daddr {PREFIX}") as said,
        Counter(lab.server, "input", f"tcp dport {PORT}") as heard,
    ):
        syn = Segment(40000, PORT, SYN, source=INSIDE, to=lab.mapped())
        send_raw(lab.client, [syn.ipv6()])
        refusals = "faith_flow_refusals_total"
        wait_until(
            lambda: gateway.counted(refusals)["source inside the prefix"] == 1, 5, "the refusal"
        )
        assert (said.packets, heard.packets) == (0, 0)


def test_a_syn_from_ipv4_without_a_flow_is_never_answered(lab: ThreeHosts, tmp_path: Path) -> None:
    """RFC 5382 REQ-4a; nor one for the port of a flow with somebody else (REQ-3)."""
    add_own(lab)
    gateway = Gateway(lab, tmp_path, BASE + FROM_OWN)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        source, port = peer.getpeername()
        assert source == OWN
        foreign = [
            Segment(PORT, port, SYN, source="192.0.2.81", to=OWN),
            Segment(PORT + 1, port, SYN, source=SERVER, to=OWN),
            Segment(PORT, port ^ 1, SYN, source=SERVER, to=OWN),
            Segment(PORT, 61000, SYN, source=SERVER, to=GATEWAY_V4),
        ]
        with (
            Counter(lab.gateway, "output", "ip protocol { tcp, icmp }") as said,
            Counter(lab.client, "input", "meta l4proto tcp") as heard,
        ):
            send_raw(lab.server, [syn.ipv4() for syn in foreign])
            wait_until(
                lambda: gateway.counted("faith_flow_strays_total")["v4"] == len(foreign),
                5,
                "all SYNs",
            )
            assert (said.packets, heard.packets) == (0, 0)
        client.sendall(b"x")
        assert peer.recv(1) == b"x"


def test_a_packet_of_no_flow_is_reset_towards_ipv6(lab: ThreeHosts, tmp_path: Path) -> None:
    """As by a host that knows of no connection; RFC 6146 would have it discarded in silence.

    A reset is answered by nothing.
    """
    Gateway(lab, tmp_path, BASE)
    stray = Segment(40000, PORT, ACK, 1000, 7000, source=CLIENT, to=lab.mapped())
    with (
        Counter(lab.client, "prerouting", f"tcp sport {PORT} tcp flags rst") as every,
        Counter(lab.client, "input", "tcp flags rst tcp sequence 7000", "drop") as resets,
        Counter(lab.server, "input", f"tcp dport {PORT}") as heard,
    ):
        send_raw(lab.client, [stray._replace(flags=RST).ipv6(), stray.ipv6()])
        wait_until(lambda: resets.packets == 1, 5, "the reset")
        assert every.packets == 1
        assert not heard.packets


# -- RFC 6146 section 3.5.2.2: states -------------------------------------------------------------


def test_both_may_open_at_once(lab: ThreeHosts, tmp_path: Path, pins: Path) -> None:
    """The client's SYNs are lost, as by a firewall that the server's own SYN opens."""
    Gateway(lab, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    first = f"tcp dport {PORT} tcp flags & (syn|ack) == syn"
    lost = Counter(lab.server, "input", first, "drop")
    made: list[socket.socket] = []
    trying = threading.Thread(target=lambda: made.append(connect(lab)))
    trying.start()
    wait_until(lambda: lost.packets, 5, "the client's SYN")
    (flow,) = sessions(lab)
    assert flow["stage"] == "opening"
    with open_maps(pins) as maps:
        port = maps.read(*maps.used()).source_port
    with lab.server.call(socket.socket) as server:
        server.settimeout(5)
        server.bind((SERVER, PORT))
        server.connect((GATEWAY_V4, port))
        trying.join()
        (client,) = made
        with client:
            client.sendall(b"x")
            assert server.recv(1) == b"x"
            server.sendall(b"y")
            assert client.recv(1) == b"y"
            (flow,) = sessions(lab)
            assert flow["stage"] == "established"


# -- RFC 6146 section 3.5, RFC 5382 REQ-10: ICMP errors -------------------------------------------


def test_no_icmp_error_ends_a_flow(lab: ThreeHosts, tmp_path: Path) -> None:
    """They are translated, and it is each end's own TCP that decides what they mean."""
    gateway = Gateway(lab, tmp_path, BASE)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        sent = next_segment(client, b"").ipv6()
        told = next_segment(peer, b"").ipv4()
        at_client = next_segment(peer, b"")
        port, source = client.getsockname()[1], peer.getpeername()[0]
        to_client = at_client._replace(port=port, source=lab.mapped(), to=CLIENT).ipv6()
        to_server = Segment(peer.getpeername()[1], PORT, source=source, to=SERVER).ipv4()
        assert (len(sent), len(told)) == (60, 40)
        hard = [(3, 0), (3, 1), (3, 2), (3, 3), (3, 9), (3, 13), (11, 0), (12, 0)]
        send_raw(lab.server, [icmp4(*one, to_server, SERVER, source) for one in hard])
        hard6 = [(1, 0), (1, 1), (1, 3), (1, 4), (3, 0), (4, 1)]
        send_raw(lab.client, [icmp6(*one, to_client, CLIENT, lab.mapped()) for one in hard6])
        wait_until(
            lambda: (
                gateway.counted("faith_flow_errors_total") == {"v6": len(hard), "v4": len(hard6)}
            ),
            5,
            "the errors being passed on",
        )
        client.sendall(b"x")
        assert peer.recv(1) == b"x"
        peer.sendall(b"y")
        assert client.recv(1) == b"y"
        (flow,) = sessions(lab)
        assert flow["stage"] == "established"


def icmp4(kind: int, code: int, quoted: bytes, source: str, to: str) -> bytes:
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    return ipv4_header(body, packed(source) + packed(to), kind=ICMP)


def icmp6(kind: int, code: int, quoted: bytes, source: str, to: str) -> bytes:
    addresses = packed(source) + packed(to)
    body = struct.pack("!BBHI", kind, code, 0, 0) + quoted
    check = checksum(body, ones_sum(addresses) + ICMPV6 + len(body))
    body = body[:2] + check.to_bytes(2, "big") + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 64) + addresses + body


# -- RFC 6146 section 3.5.4, RFC 6052 -------------------------------------------------------------


def test_every_layout(lab: ThreeHosts, tmp_path: Path) -> None:
    """The IPv4 address is where RFC 6052 section 2.2 has it, whatever the suffix."""
    layouts = [f"2001:db8:{length:x}00::/{length}" for length in (40, 48, 56, 64, 96)]
    layouts = ["2001:dbf::/32", *layouts]
    tables = "".join(f'[[prefix]]\naddress = "{each}"\nlayout = "rfc6052"\n' for each in layouts)
    text = BASE.replace(f'[[prefix]]\naddress = "{PREFIX}"\n', tables)
    assert text.count("[[prefix]]") == len(layouts)
    Gateway(lab, tmp_path, text)
    with contextlib.closing(Echo(lab.server)) as echo_:
        for each in layouts:
            prefix = Prefix.parse(each, "rfc6052")
            mapped = prefix.map(int.from_bytes(packed(SERVER), "big"))
            if prefix.length <= 64:
                mapped |= 0x77  # of the suffix, which is ignored
            with connect_from(lab.client, text_of(mapped)) as client:
                assert answers(client)
        assert len(echo_.peers) == len(layouts)
    assert metrics(lab)["faith_flows_begun_total"] == len(layouts)


def text_of(address: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, address.to_bytes(16, "big"))


# -- RFC 7915 sections 4.1 and 5.1: options and extension headers ---------------------------------


@pytest.mark.parametrize("accepts", [0, 1])
def test_an_unexpired_source_route_is_not_followed(
    lab: ThreeHosts, tmp_path: Path, accepts: int
) -> None:
    """The gateway's kernel discards it; one that has been followed passes where the kernel lets."""
    for name in ("all", "to-server"):
        lab.gateway.sysctl(f"net.ipv4.conf.{name}.accept_source_route", accepts)
    Gateway(lab, tmp_path, BASE)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        forged = next_segment(peer, b"forged").ipv4()
        unexpired = bytes([LOOSE_ROUTE, 7, 4]) + packed("198.51.100.7") + bytes([NOTHING])
        expired = bytes([LOOSE_ROUTE, 7, 8]) + packed("198.51.100.7") + bytes([NOTHING])
        send_raw(lab.server, [with_options(forged, unexpired)])
        if accepts:
            send_raw(lab.server, [with_options(next_segment(peer, b"true").ipv4(), expired)])
        else:
            send_raw(lab.server, [with_options(forged, expired)])
            peer.sendall(b"true")
        assert hear(client, 4) == b"true"


def with_options(packet: bytes, options: bytes) -> bytes:
    """An IPv4 packet with *options*, of a multiple of four octets."""
    head = bytes([0x45 + len(options) // 4]) + packet[1:2]
    head += struct.pack("!H", len(packet) + len(options)) + packet[4:10] + bytes(2)
    head += packet[12:20] + options
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + packet[20:]


def test_a_routing_header_with_segments_left_is_answered(lab: ThreeHosts, tmp_path: Path) -> None:
    Gateway(lab, tmp_path, BASE)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        with Errors(lab.client) as errors:
            send_raw(lab.client, [with_route(next_segment(client, b"forged").ipv6(), 1)])
            _, *said = errors.next()
            assert said == [4, 0, 40 + 3]
        send_raw(lab.client, [with_route(next_segment(client, b"true").ipv6(), 0)])
        assert hear(peer, 4) == b"true"


def with_route(packet: bytes, left: int) -> bytes:
    """An IPv6 packet with a routing header that has so many segments left."""
    payload = bytes([TCP, 2, 0, left]) + bytes(4) + packed(INSIDE) + packet[40:]
    return packet[:4] + struct.pack("!HB", len(payload), ROUTING) + packet[7:40] + payload


def test_a_connection_whose_syn_has_extension_headers_is_relayed(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    """The program looks for a first packet's TCP header behind the IPv6 header only."""
    Gateway(lab, tmp_path, BASE)
    options = bytes([0, 0, 1, 4, 0, 0, 0, 0])
    with (
        contextlib.closing(Echo(lab.server)),
        lab.client.call(socket.socket, socket.AF_INET6) as client,
    ):
        client.settimeout(5)
        client.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, options)
        client.connect((lab.mapped(), PORT))
        assert answers(client)
        (session,) = sessions(lab)
        assert not session["id"].startswith("k")
    assert metrics(lab)["faith_flows_begun_total"] == 0


# -- RFC 7915 sections 4 and 5: sizes -------------------------------------------------------------


def test_what_no_ipv6_host_makes_smaller_is_fragmented(
    lab: ThreeHosts, tmp_path: Path, pins: Path
) -> None:
    """Section 5.1.1: the gateway's link to the server has become narrower than 1260 octets."""
    Gateway(lab, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    with (
        contextlib.closing(Talker(lab.server)) as talker,
        connect(lab) as client,
        Counter(lab.server, "prerouting", "ip frag-off & 0x1fff != 0") as later,
    ):
        echo(client)
        lab.gateway.run(["ip", "route", "change", "192.0.2.0/24", "dev", "to-server", "mtu", "600"])
        with open_maps(pins) as maps:
            (number,) = maps.used()
            wait_until(lambda: maps.read(number).mtu4 == 600, 5, "the flow following the route")
        text = octets(100_000)
        client.sendall(text)
        assert hear(client, len(text)) == text
        say(client)
        assert later.packets
        assert not talker.failed


@pytest.mark.parametrize("own", [1500, 1400], ids=["whole", "fragments"])
def test_what_may_be_fragmented_fits_the_clients_path(
    far: Routed, tmp_path: Path, pins: Path, own: int
) -> None:
    """Section 4: a router on the IPv6 side is narrower than the gateway's own link."""
    Gateway(far, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    with contextlib.closing(Talker(far.far_server, path_mtu=NEVER_DF)), far.connect() as client:
        echo(client)
        way = "2001:db8:62::/64 via 2001:db8:61::2"
        far.gateway.run(["ip", "-6", "route", "change", *way.split(), "mtu", str(own)])
        far.narrow(v6=1280)
        with open_maps(pins) as maps:
            (number,) = maps.used()
            wait_until(lambda: maps.read(number).mtu6 == own, 5, "the flow following the route")
            text = octets(100_000)
            client.sendall(text)
            assert hear(client, len(text)) == text
            assert maps.read(number).mtu6 == 1280


def test_fragments_have_time_and_bounded_memory(lab: ThreeHosts, tmp_path: Path) -> None:
    """RFC 6146 section 3.4, FRAGMENT_MIN: both are the kernel's, and can be set."""
    Gateway(lab, tmp_path, BASE)
    for time, memory in (
        ("net.ipv4.ipfrag_time", "net.ipv4.ipfrag_high_thresh"),
        (
            "net.netfilter.nf_conntrack_frag6_timeout",
            "net.netfilter.nf_conntrack_frag6_high_thresh",
        ),
    ):
        assert int(lab.gateway.sysctl(time)) >= 2
        assert 0 < int(lab.gateway.sysctl(memory)) <= 16 << 20


def test_fragments_with_df_arrive_whole(lab: ThreeHosts, tmp_path: Path) -> None:
    Gateway(lab, tmp_path, BASE)
    server, text = Server(lab.server), octets(3000)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        whole, each = next_segment(peer, text).ipv4(), 1200
        pieces = []
        for at in range(0, len(whole) - 20, each):
            more = MORE if at + each < len(whole) - 20 else 0
            part = whole[20 + at : 20 + at + each]
            pieces.append(ipv4_header(part, whole[12:20], DO_NOT_FRAGMENT | more | at // 8))
        send_raw(lab.server, pieces)
        assert hear(client, len(text)) == text


def _is_unattended(pins: Path) -> bool:
    return program_counters(pins)["unattended"] > 0


def test_what_needs_the_flow_process_is_lost_without_it(
    lab: ThreeHosts, tmp_path: Path, pins: Path
) -> None:
    """The stack, which knows of no connection, does not get it: it would answer with a reset."""
    gateway = Gateway(lab, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        os.killpg(gateway.process.pid, signal.SIGKILL)
        gateway.process.wait(5)
        wait_until(lambda: refuses(lab) and _is_unattended(pins), 5, "the program noticing")
        with Counter(
            lab.client, "input", f"tcp dport {client.getsockname()[1]} tcp flags rst"
        ) as resets:
            send_raw(lab.client, [with_route(next_segment(client, b"lost").ipv6(), 0)])
            client.sendall(b"true")
            assert hear(peer, 4) == b"true"
            assert not resets.packets
