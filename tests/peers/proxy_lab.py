"""A gateway between hosts of one family each, and the names that only the gateway can look up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from faith.lab import Host, Network

V4_CLIENT = "198.51.100.2"
"""The client that has IPv4 only."""
V4_CLIENTS_GATEWAY = "198.51.100.1"
V6_SERVER = "2001:db8:80::80"
"""The server that has IPv6 only."""
SERVERS_GATEWAY = "2001:db8:80::1"
NOBODY = "192.0.2.99"
"""An address of the server's network that no host has."""
NO_ROUTE = "203.0.113.1"
"""An address that the gateway has no route to."""

SILENT = 81
"""A port of both servers from which nothing comes: SYN segments are dropped."""
CLOSED = 82
"""A port of both servers where nothing listens."""

ZONE = f"""{EXAMPLE}v4 60 IN A {SERVER}
v6 60 IN AAAA {V6_SERVER}
both 60 IN A {SERVER}
both 60 IN AAAA {V6_SERVER}
alias 60 IN CNAME v4
local 60 IN A 127.0.0.1
local6 60 IN AAAA ::1
own 60 IN A {GATEWAY_V4}
link 60 IN AAAA fe80::1
nobody 60 IN A {NOBODY}
half 60 IN AAAA {V6_SERVER}
half 60 IN A {NOBODY}
text 60 IN TXT "no address"
"""
"""``nowhere.example`` does not exist, and the server refuses to tell of ``other.invalid``."""

DROP = f"""table inet silent {{
    chain input {{
        type filter hook input priority 0;
        tcp dport {SILENT} drop
    }}
}}
"""

HOSTS = ("v6client", "v4client", "gateway", "v4server", "v6server")

_MOUNTS = """\
mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/hosts" /etc/hosts &&
mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && exec "$@"
"""


@dataclass(frozen=True)
class ProxyLab:
    """Clients and servers that share no family with each other but by the gateway's proxy.

    Neither packets nor names pass: clients have no route beyond their link and no name server.
    """

    v6_client: Host
    v4_client: Host
    gateway: Host
    v4_server: Host
    v6_server: Host
    with_names: tuple[str, ...]
    """A command prefix for programs that look names up."""

    def clients(self) -> Iterator[tuple[Host, str]]:
        """Each client, with the address at which it finds the gateway."""
        yield self.v6_client, GATEWAY_V6
        yield self.v4_client, V4_CLIENTS_GATEWAY


def proxy_lab(network: Network, running: ExitStack, directory: Path, nft: str) -> ProxyLab:
    """Build in *network*, with a name server on the gateway that lasts as long as *running*::

        v6 client, 2001:db8:6::2 ──┐            ┌── v4 server, 192.0.2.80
                                   ├─ gateway ──┤
        v4 client, 198.51.100.2 ───┘            └── v6 server, 2001:db8:80::80

    *nft* is the program nft(8).
    """
    v6_client, v4_client, gateway, v4_server, v6_server = map(network.host, HOSTS)
    for host in (v4_client, v4_server):
        host.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    for family in ("ipv4", "ipv6"):  # a new namespace may inherit the machine's own setting
        gateway.sysctl(f"net.{family}.conf.all.forwarding", 0)
    gateway.sysctl("net.ipv4.tcp_syn_retries", 1)  # some peers wait as long as the kernel does
    network.link(v6_client, gateway, [f"{CLIENT}/64"], [f"{GATEWAY_V6}/64"])
    network.link(v4_client, gateway, [f"{V4_CLIENT}/24"], [f"{V4_CLIENTS_GATEWAY}/24"])
    network.link(gateway, v4_server, [f"{GATEWAY_V4}/24"], [f"{SERVER}/24"])
    network.link(gateway, v6_server, [f"{SERVERS_GATEWAY}/64"], [f"{V6_SERVER}/64"])
    # That nobody has an address is known sooner than a connection is given up.
    gateway.sysctl(f"net.ipv4.neigh.to-{v4_server.name}.retrans_time_ms", 100)
    for server in (v4_server, v6_server):
        server.run([nft, "-f", "-"], stdin=DROP)
    names = gateway.call(lambda: NameServer(Zones(ZONE), "127.0.0.1", 53))
    running.enter_context(names)
    for name, text in (
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n"),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("nsswitch.conf", "hosts: files dns\n"),
    ):
        (directory / name).write_text(text)
    with_names = ("unshare", "--mount", "sh", "-c", _MOUNTS, str(directory))
    return ProxyLab(v6_client, v4_client, gateway, v4_server, v6_server, with_names)
