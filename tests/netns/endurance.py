"""What the long tests share: hosts and servers, the gateway's file, and who was cut by a kill."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns import abuse, load
from tests.netns.crowd import FILE
from tests.netns.datagrams import Flow, FlowEcho, UdpLine
from tests.netns.footprint import connections, sockets
from tests.netns.ftp_server import FtpServer
from tests.netns.way import inward, outward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts
    from tests.netns.way import Way

SILENT_PORT = 9
"""Of the server: it says nothing."""
BY_MAP, STAYING_PORT_BY_MAP, ECHO = 8, 2424, 5555
"""Further ports: two of the mapped host's, short sessions and staying ones; echoes everywhere."""
HOST, MAPPED = "fd00:6::77", "192.0.2.102"
"""The mapped host's address, and the one that stands for it.

It is the client's host, which prefers its other address when it connects: that of no map.
"""
ENDED = "faith_sessions_total", "faith_flows_ended_total"
"""What counts sessions of either path that have ended."""
ZONE = f"""{EXAMPLE}www 1 IN A {SERVER}
"""
FAITH_TOML = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "ftp"
[[service]]
ports = "{abuse.PORT},{SILENT_PORT},{load.PORT},{ECHO}"
path = "%s"
[limits]
sessions = 5000
sessions_per_client = 5000
rate_per_prefix = 1000
[udp]
short_ports = "53,123,{ECHO}"
[ping]
[[map]]
v4 = "{MAPPED}"
v6 = "{HOST}"
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
[metrics]
listen = "[::1]:9064"
[log]
sample = 1000
"""
"""To be completed by the path of all services that may have either."""
CLIENTS = "2001:db8:6::/48", f"{HOST}/128", "::ffff:192.0.2.0/120"
CHANGES = (
    "",
    f"[access]\nrules = {[f'{client} permit 192.0.2.0/24' for client in CLIENTS]}\n",
    "[timeouts]\nidle = 600\nhalf_closed = 600\n",
    "[timeouts]\nidel = 600\n",
)
"""What the file has besides, by turns; the last is a mistake."""


@contextlib.contextmanager
def serving(lab: ThreeHosts) -> Iterator[None]:
    """The server's: for files, for names, and one that says nothing; and the mapped host."""
    lab.client.links.add_address("to-gateway", f"{HOST}/128")
    lab.gateway.links.add_route(f"{HOST}/128", CLIENT)
    ftp = FtpServer(lab.server)
    ftp.files["file"] = FILE
    silent = lab.server.call(lambda: socket.create_server(("", SILENT_PORT), backlog=4096))
    names = lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53))
    with contextlib.closing(ftp), names, silent:
        yield


@contextlib.contextmanager
def flowing(lab: ThreeHosts) -> Iterator[list[Flow]]:
    """By UDP: two of the client's, one of the mapped host's, and one that comes by the map."""
    way, by_map = ways(lab)
    with contextlib.ExitStack() as stack:
        echo, echo_by_map = (
            stack.enter_context(contextlib.closing(FlowEcho(w))) for w in (way, by_map)
        )
        flows = [Flow(UdpLine(way, source), echo) for source in (CLIENT, CLIENT, HOST)]
        flows.append(Flow(UdpLine(by_map), echo_by_map))
        for flow in flows:
            stack.enter_context(flow.line.sock)
        yield flows


def is_over(told: dict[str, float]) -> bool:
    """Return whether no session is open, by either path."""
    return told["faith_sessions_open"] == told["faith_flows"] == 0


def ways(lab: ThreeHosts) -> tuple[Way, Way]:
    """Of datagrams."""
    return outward(lab, ECHO), inward(lab, MAPPED, HOST, ECHO)


def halt(pid: int) -> None:
    """Have a process stand still, so that what it has does not change before it is killed."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _state(pid) == "T", 15, "it standing still")


def sessions_of(lab: ThreeHosts, pid: int) -> frozenset[tuple[int, int]]:
    """The ports of the sessions that a process of the gateway has."""
    own = sockets(pid)
    had = (one for one in connections(lab) if one.inode in own)
    return frozenset((one.peer, one.port) for one in had)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2][0]
