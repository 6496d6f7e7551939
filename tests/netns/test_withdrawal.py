"""A prefix that is released: what goes by it ends, and nothing else."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, Echo, answers, connect, connect_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

OTHER = "2001:db8:fffe::/96"
BY_OTHER = "2001:db8:fffe::c000:250"
MAPPED = "192.0.2.102"
REST = f"""
[[service]]
ports = "{PORT}"
[udp]
[metrics]
listen = "[::1]"
"""
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
"""


def prefixes(*texts: str) -> str:
    return "".join(f'[[prefix]]\naddress = "{text}"\n' for text in texts) + REST


@pytest.fixture
def servers(lab: ThreeHosts) -> Iterator[None]:
    made = Echo(lab.server, PORT, SERVER), Echo(lab.client, 22, CLIENT)
    yield
    for server in made:
        server.close()


def ended(session: socket.socket) -> bool:
    session.settimeout(5)
    try:
        return session.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.usefixtures("servers")
def test_sessions_of_a_withdrawn_prefix_end_and_others_go_on(
    lab: ThreeHosts, tmp_path: Path
) -> None:
    faithd = Gateway(lab, tmp_path, prefixes(PREFIX, OTHER))
    with connect(lab) as withdrawn, connect(lab, BY_OTHER) as stays:
        assert answers(withdrawn)
        assert answers(stays)
        faithd.reload(prefixes(OTHER))
        faithd.wait_said('end="prefix gone"')
        assert answers(stays)
        assert faithd.counted("faith_sessions_total")["prefix gone"] == 1


@pytest.mark.usefixtures("servers")
def test_an_ipv4_client_that_the_prefix_stands_for_is_told(lab: ThreeHosts, tmp_path: Path) -> None:
    """The server knows the client by its address in the prefix, to which it sends in vain."""
    faithd = Gateway(lab, tmp_path, prefixes(OTHER) + MAP)
    with connect_from(lab.server, MAPPED, 22) as session:
        assert answers(session)
        faithd.reload(prefixes(PREFIX) + MAP)
        assert ended(session)
    faithd.wait_said('end="prefix gone"')
    with connect_from(lab.server, MAPPED, 22) as session:
        assert answers(session)


def test_flows_of_a_withdrawn_prefix_end(lab: ThreeHosts, tmp_path: Path) -> None:
    faithd = Gateway(lab, tmp_path, prefixes(PREFIX, OTHER))
    with (
        lab.server.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as server,
        lab.client.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as client,
    ):
        server.bind((SERVER, 7))
        for one in (server, client):
            one.settimeout(2)
        peers = {}
        for mapped in (lab.mapped(), BY_OTHER):
            client.sendto(mapped.encode(), (mapped, 7))
            _, peers[mapped] = server.recvfrom(100)
        wait_until(lambda: faithd.counted("faith_udp_flows")[""] == 2, 5, "two flows")
        faithd.reload(prefixes(OTHER))
        wait_until(lambda: faithd.counted("faith_udp_flows")[""] == 1, 5, "the end of one")
        server.sendto(b"too late", peers[lab.mapped()])
        server.sendto(b"in time", peers[BY_OTHER])
        assert client.recvfrom(100)[0] == b"in time"


@pytest.mark.usefixtures("servers")
def test_a_route_that_is_restored_costs_no_session(lab: ThreeHosts, tmp_path: Path) -> None:
    faithd = Gateway(lab, tmp_path, prefixes(PREFIX))
    with connect(lab) as session:
        assert answers(session)
        for times in range(1, 4):
            route = ["local", PREFIX, "dev", "lo", "table", "local"]
            lab.gateway.run(["ip", "-6", "route", "del", *route])
            faithd.wait_said("reserved it again", times)
            assert answers(session)
    faithd.wait_said("end=closed")
