"""The network of the demo, the tests and the benchmarks: client, gateway and server."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.lab.host import Host
    from faith.lab.network import Network

CLIENT = "2001:db8:6::2"
GATEWAY_V6 = "2001:db8:6::1"
GATEWAY_V4 = "192.0.2.1"
SERVER = "192.0.2.80"
PREFIX = "2001:db8:ffff::/96"


@dataclass(frozen=True)
class ThreeHosts:
    """An IPv6-only client, a gateway without forwarding, an IPv4-only server.

    *prefix* is routed to the gateway and not reserved yet.
    """

    network: Network
    client: Host
    gateway: Host
    server: Host
    prefix: str = PREFIX

    def mapped(self, v4: str = SERVER) -> str:
        """Return the mapped address by which the client reaches *v4*."""
        return str(IPv6Network(self.prefix)[int(IPv4Address(v4))])


def three_hosts(
    network: Network, server_addresses: Iterable[str] = (), mtu: int = 1500
) -> ThreeHosts:
    """Build in *network*::

        client ──────────────────── gateway ──────────────── server
        2001:db8:6::2   2001:db8:6::1  192.0.2.1       192.0.2.80

    The client's default route is the gateway; the server has no route but its own link's and no
    IPv6 at all.  *server_addresses* are further addresses in 192.0.2.0/24.  Raises SetupError.
    """
    client, gateway, server = (network.host(name) for name in ("client", "gateway", "server"))
    server.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    for family in ("ipv4", "ipv6"):  # a new namespace may inherit the machine's own setting
        gateway.sysctl(f"net.{family}.conf.all.forwarding", 0)
    network.link(client, gateway, [f"{CLIENT}/64"], [f"{GATEWAY_V6}/64"], mtu)
    network.link(
        gateway,
        server,
        [f"{GATEWAY_V4}/24"],
        [f"{address}/24" for address in (SERVER, *server_addresses)],
        mtu,
    )
    client.links.add_route("default", GATEWAY_V6)
    return ThreeHosts(network, client, gateway, server)
