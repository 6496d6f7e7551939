"""Packets that are too large for the way, and fragments, by the kernel path."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from faith.datagram.fragments import fragments
from faith.lab import wait_until
from faith.lab.topology import CLIENT, SERVER
from tests.netns.flow_lab import (
    BASE,
    GATEWAY_FAR_V4,
    GATEWAY_FAR_V6,
    ROUTER4,
    ROUTER6,
    Counter,
    Errors,
    Routed,
    numbers,
    open_maps,
    routed,
    send_raw,
)
from tests.netns.flow_talk import Talker, both, down, echo, hear, octets, up
from tests.netns.flows import ACK, PSH, Segment, ipv4_header, packed
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Server, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Network, ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

LENGTH = 3_000_000
NEVER_DF = 0
"""IP_PMTUDISC_DONT: packets may be fragmented on their way."""
MORE, TCP, FRAGMENT, DESTINATION_OPTIONS = 0x2000, 6, 44, 60
HEADERS4 = 40
OTHER = {socket.AF_INET: socket.AF_INET6, socket.AF_INET6: socket.AF_INET}


@pytest.fixture
def far(network: Network) -> Routed:
    return routed(network)


@pytest.fixture
def talker(far: Routed) -> Iterator[Talker]:
    with contextlib.closing(Talker(far.far_server)) as made:
        yield made


# -- path MTU ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("v6", "v4"), [(1280, 1500), (1500, 1280), (1280, 1280), (1500, 600)])
@pytest.mark.parametrize("move", [up, down])
def test_path_mtu_discovery(
    far: Routed,
    talker: Talker,
    tmp_path: Path,
    move: Callable[[socket.socket, int], None],
    v6: int,
    v4: int,
) -> None:
    """Routers' errors reach the other side; what IPv6 hosts need not make smaller is fragmented.

    One direction only: what an end has learned from the other's packets it announces as its MSS.
    """
    Gateway(far, tmp_path, BASE)
    far.narrow(v6, v4)
    move(far.connect(), LENGTH)
    assert not talker.failed


def test_an_announced_segment_fits_both_links(lab: ThreeHosts, tmp_path: Path) -> None:
    """Ends that claim more than the gateway's narrow link takes hear what fits."""
    lab.gateway.run(["ip", "link", "set", "to-server", "mtu", "1280"])
    Gateway(lab, tmp_path, BASE)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        fits = 1280 - HEADERS4
        assert maximum(peer) == maximum(client) == fits - 12  # timestamps
    lab.gateway.run(["ip", "link", "set", "to-server", "mtu", "1500"])
    with contextlib.closing(Talker(lab.server, PORT + 1)):
        both(lambda: connect(lab, port=PORT + 1), LENGTH)


def maximum(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def test_the_gateways_own_narrow_links(
    far: Routed, talker: Talker, tmp_path: Path, pins: Path
) -> None:
    """A link that becomes narrow under a flow: the gateway itself says so to either side."""
    Gateway(far, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    for family, host, expected in (
        (socket.AF_INET, far.far_client, (GATEWAY_FAR_V6, 2, 0, 1300)),
        (socket.AF_INET6, far.far_server, (GATEWAY_FAR_V4, 3, 4, 1260)),
    ):
        with far.connect() as client, Errors(host, OTHER[family]) as errors:
            echo(client)
            narrow_the_gateway(far, family, pins)
            text = octets(100_000)
            client.sendall(text)
            assert hear(client, len(text)) == text
            assert errors.next() == expected
    assert not talker.failed


def narrow_the_gateway(far: Routed, family: int, pins: Path) -> None:
    """Have the gateway send no packets larger than 1280 octets to a far host, from now on."""
    way = ["198.51.100.0/24", "via", ROUTER4]
    if family == socket.AF_INET6:
        way = ["2001:db8:62::/64", "via", ROUTER6]
    option = "-6" if family == socket.AF_INET6 else "-4"
    far.gateway.run(["ip", option, "route", "replace", *way, "mtu", "1280"])
    with open_maps(pins) as maps:
        (newest,) = (max(maps.used(), key=maps.generation_of),)

        def mtu() -> int:
            slot = maps.read(newest)
            return slot.mtu6 if family == socket.AF_INET6 else slot.mtu4

        wait_until(lambda: mtu() == 1280, 5, "the flow following the route")


@pytest.mark.parametrize("mss", [1220, 0])
def test_an_mss_that_is_asked_for_needs_no_errors(
    far: Routed, talker: Talker, tmp_path: Path, mss: int
) -> None:
    """Where a path loses the errors; without it, such a path stalls."""
    Gateway(far, tmp_path, f"{BASE}[flows]\nmss = {mss}\n")
    far.narrow(1280, 1280)
    lost = [
        Counter(far.router6, "output", "icmpv6 type packet-too-big", "drop"),
        Counter(far.router4, "output", "icmp type destination-unreachable", "drop"),
    ]
    if mss:
        both(far.connect, LENGTH)
        assert not any(counter.packets for counter in lost)
    else:
        for stalls, at in zip((up, down), lost, strict=True):
            connection = far.connect()
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                stalls(connection, LENGTH)
            assert at.packets
    assert not talker.failed


# -- fragments -----------------------------------------------------------------------------------


def test_octets_in_ipv4_fragments(far: Routed, tmp_path: Path) -> None:
    """A server that lets routers fragment, behind one that does."""
    Gateway(far, tmp_path, BASE)
    far.narrow(v4=1280)
    with contextlib.closing(Talker(far.far_server, path_mtu=NEVER_DF)) as talker:
        down(far.connect(), LENGTH)
        assert not talker.failed
    assert metrics(far)['faith_flow_carried_total{to="v6"}'] > 1000


def test_a_packet_that_may_be_fragmented_is(far: Routed, tmp_path: Path, pins: Path) -> None:
    """One that is larger than the client's link takes, without DF: RFC 7915 section 4.1."""
    Gateway(far, tmp_path, f'{BASE}[flows]\npins = "{pins}"\n')
    with (
        contextlib.closing(Talker(far.far_server, path_mtu=NEVER_DF)),
        far.connect() as client,
        Counter(far.far_client, "prerouting", "exthdr frag exists") as pieces,
    ):
        echo(client)
        narrow_the_gateway(far, socket.AF_INET6, pins)
        text = octets(100_000)
        client.sendall(text)
        assert hear(client, len(text)) == text
        assert pieces.packets


ORDERS = [*itertools.permutations(range(3))]


IN_EITHER_ORDER = pytest.mark.parametrize("order", [ORDERS[0], ORDERS[-1]], ids=["first", "last"])


@IN_EITHER_ORDER
def test_fragments_of_a_client_arrive_whole(
    lab: ThreeHosts, tmp_path: Path, order: tuple[int, ...]
) -> None:
    """As a client that fragments TCP would send them, the first one first, or last."""
    Gateway(lab, tmp_path, BASE)
    server, text = Server(lab.server), octets(3000)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        pieces = client_fragments(client, lab.mapped(), text)
        send_raw(lab.client, [pieces[number] for number in order])
        assert hear(peer, len(text)) == text


@IN_EITHER_ORDER
def test_fragments_of_a_server_arrive_whole(
    lab: ThreeHosts, tmp_path: Path, order: tuple[int, ...]
) -> None:
    Gateway(lab, tmp_path, BASE)
    server, text = Server(lab.server), octets(3000)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        pieces = server_fragments(peer, text)
        send_raw(lab.server, [pieces[number] for number in order])
        assert hear(client, len(text)) == text


def test_extension_headers_are_skipped(lab: ThreeHosts, tmp_path: Path) -> None:
    Gateway(lab, tmp_path, BASE)
    server, text = Server(lab.server), octets(100)
    options = bytes([6, 0, 1, 4, 0, 0, 0, 0])  # TCP follows; padding
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        whole = next_segment(client, CLIENT, lab.mapped(), text).ipv6()
        payload = options + whole[40:]
        head = whole[:4] + struct.pack("!HB", len(payload), DESTINATION_OPTIONS) + whole[7:40]
        send_raw(lab.client, [head + payload])
        assert hear(peer, len(text)) == text


def test_ipv4_options_are_left_out(lab: ThreeHosts, tmp_path: Path) -> None:
    Gateway(lab, tmp_path, BASE)
    server, text = Server(lab.server), octets(100)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        whole = next_segment(peer, SERVER, peer.getpeername()[0], text).ipv4()
        head = b"\x46" + whole[1:2] + struct.pack("!H", len(whole) + 4) + whole[4:10] + bytes(2)
        head += whole[12:20] + b"\1\1\1\0"  # nothing, nothing, nothing, end
        send_raw(lab.server, [head + whole[20:]])
        assert hear(client, len(text)) == text


def next_segment(sock: socket.socket, source: str, to: str, text: bytes) -> Segment:
    """The segment that would be the next one of *sock*."""
    ports = sock.getsockname()[1], sock.getpeername()[1]
    return Segment(*ports, ACK | PSH, *numbers(sock), text, source=source, to=to)


def client_fragments(client: socket.socket, mapped: str, text: bytes) -> list[bytes]:
    packet = next_segment(client, CLIENT, mapped, text).ipv6()
    return [
        packet[:4] + struct.pack("!HB", len(piece), FRAGMENT) + packet[7:40] + piece
        for piece in fragments(TCP, packet[40:], 1280)
    ]


def server_fragments(peer: socket.socket, text: bytes) -> list[bytes]:
    address = peer.getpeername()[0]
    payload, each = next_segment(peer, SERVER, address, text).ipv4()[20:], 1200
    return [
        ipv4_header(
            payload[at : at + each],
            packed(SERVER) + packed(address),
            at // 8 | (MORE if at + each < len(payload) else 0),
        )
        for at in range(0, len(payload), each)
    ]
