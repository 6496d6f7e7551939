"""RFC 6146 and RFC 5382 for the TCP of the kernel path, where programs do not show it."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from faith.datagram.checksum import checksum
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from faith.translation.prefix import Prefix
from tests.netns.flow_lab import (
    BASE,
    FROM_OWN,
    OTHER_CLIENT,
    OWN,
    Counter,
    add_other_client,
    add_own,
    connect_as,
    numbers,
    refused,
    send_raw,
    sessions,
    why_not,
)
from tests.netns.flow_talk import Talker, echo, say
from tests.netns.flows import ACK, RST, SYN, Segment, ipv4_header, packed
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Server, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

ICMP, UNREACHABLE, HOST = 1, 3, 1
LAYOUTS = [("low32", 64), *(("rfc6052", length) for length in (32, 40, 48, 56, 64, 96))]


@pytest.fixture
def talker(lab: ThreeHosts) -> Iterator[Talker]:
    with contextlib.closing(Talker(lab.server)) as made:
        yield made


@pytest.mark.usefixtures("talker")
@pytest.mark.parametrize(("layout", "length"), LAYOUTS)
def test_every_layout(lab: ThreeHosts, tmp_path: Path, layout: str, length: int) -> None:
    """RFC 6052 section 2.2, and RFC 3142."""
    written = f"3fff:101::/{length}"
    Gateway(lab, tmp_path, BASE.replace(f'"{PREFIX}"', f'"{written}"\nlayout = "{layout}"'))
    mapped = Prefix.parse(written, layout).map(int(IPv4Address(SERVER)))
    with connect(lab, str(IPv6Address(mapped))) as client:
        echo(client)
        (listed,) = sessions(lab)
        assert listed["id"].startswith("k")
        assert listed["server"] == f"{SERVER}:{PORT}"


@pytest.mark.usefixtures("talker")
def test_a_client_inside_the_prefix_hears_nothing(lab: ThreeHosts, tmp_path: Path) -> None:
    """RFC 6146 section 3.5: it would go round for ever."""
    gateway = Gateway(lab, tmp_path, BASE)
    inside = lab.mapped("192.0.2.99")
    answers = Counter(lab.client, "prerouting", f"tcp sport {PORT}")
    send_raw(lab.client, [Segment(40000, PORT, SYN, source=inside, to=lab.mapped()).ipv6()])
    wait_until(lambda: refused(gateway, "source inside the prefix") == 1, 5, "a refusal")
    assert metrics(lab)["faith_flows_begun_total"] == 0
    assert not answers.packets


@pytest.mark.parametrize("to", [(OWN, 5000), (GATEWAY_V4, 61000)], ids=["own", "shared"])
def test_a_syn_from_ipv4_without_a_flow_is_not_answered(
    lab: ThreeHosts, tmp_path: Path, to: tuple[str, int]
) -> None:
    """RFC 5382 REQ-4: so that a simultaneous open can still come about."""
    add_own(lab)
    Gateway(lab, tmp_path, BASE + (FROM_OWN if to[0] == OWN else ""))
    with pytest.raises(TimeoutError):
        lab.server.call(socket.create_connection, to, 0.3)
    wait_until(lambda: metrics(lab)['faith_flow_strays_total{from="v4"}'], 5, "the SYN")


def test_an_icmp_error_ends_no_flow(lab: ThreeHosts, tmp_path: Path) -> None:
    """RFC 5382 REQ-10: it may be forged, and the client's TCP knows what to make of it."""
    Gateway(lab, tmp_path, BASE)
    server = Server(lab.server)
    with contextlib.closing(server.listener), connect(lab) as client, server.accept() as peer:
        client.sendall(b"x")
        assert peer.recv(1) == b"x"
        source, port = peer.getpeername()
        inner = Segment(port, PORT, ACK, numbers(client)[0] - 1, 0, source=source, to=SERVER)
        quoted = inner.ipv4()[:28]
        message = struct.pack("!BBHI", UNREACHABLE, HOST, 0, 0) + quoted
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        ends = packed(SERVER) + packed(source)
        heard = Counter(lab.client, "input", "icmpv6 type destination-unreachable")
        send_raw(lab.server, [ipv4_header(message, ends, kind=ICMP)])
        wait_until(lambda: heard.packets == 1, 5, "the error at the client")
        client.sendall(b"y")
        assert peer.recv(1) == b"y"
        assert len(sessions(lab)) == 1


def test_a_packet_of_no_flow_is_answered_by_a_reset(lab: ThreeHosts, tmp_path: Path) -> None:
    """RFC 6146 section 3.5.2.2; a reset is answered by nothing."""
    Gateway(lab, tmp_path, BASE)
    answered = Counter(lab.client, "prerouting", f"tcp sport {PORT} tcp flags rst")
    stray = Segment(40000, PORT, ACK, 1000, 5000, source=CLIENT, to=lab.mapped())
    send_raw(lab.client, [stray._replace(flags=RST).ipv6(), stray.ipv6()])
    wait_until(lambda: answered.packets, 5, "a reset")
    assert answered.packets == 1


@pytest.mark.usefixtures("talker")
def test_the_flows_own_addresses_are_refused_as_destinations(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    """RFC 6146 section 3.8 is not for flows that nobody else can use."""
    add_own(lab)
    gateway = Gateway(lab, tmp_path, BASE + FROM_OWN)
    for address in (OWN, GATEWAY_V4):
        assert why_not(lab, lab.mapped(address)) == errno.ECONNREFUSED
    wait_until(lambda: refused(gateway, "the gateway's own address") == 2, 5, "two refusals")


def test_a_client_keeps_its_address(lab: ThreeHosts, tmp_path: Path, talker: Talker) -> None:
    """RFC 6146 section 3.5.2.3, whichever of the addresses of flows it is."""
    add_other_client(lab)
    own = [f"192.0.2.{number}" for number in range(9, 17)]
    for address in own:
        lab.gateway.links.add_address("to-server", f"{address}/24")
    Gateway(lab, tmp_path, f"{BASE}[flows]\naddresses = {own}\n")
    for client in (CLIENT, OTHER_CLIENT):
        talker.peers.clear()
        for _ in range(5):
            with connect_as(lab, client) as connection:
                echo(connection)
        assert len({address for address, _ in talker.peers}) == 1
        assert talker.peers[0][0] in own


def test_another_server_cannot_enter_a_flow(
    lab: ThreeHosts, tmp_path: Path, talker: Talker
) -> None:
    """RFC 5382 REQ-3: filtering by address and port."""
    lab.server.links.add_address("to-gateway", "192.0.2.81/24")
    Gateway(lab, tmp_path, BASE)
    with connect(lab) as client:
        echo(client)
        ((_, port),) = talker.peers
        intruding = Segment(PORT, port, RST | ACK, source="192.0.2.81", to=GATEWAY_V4)
        send_raw(lab.server, [intruding.ipv4()])
        wait_until(lambda: metrics(lab)['faith_flow_strays_total{from="v4"}'] == 1, 5, "the stray")
        say(client)
