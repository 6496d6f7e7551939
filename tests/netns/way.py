"""Ways through a gateway, from IPv6 to IPv4 or back: who goes to whom, by which address."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.lab.topology import SERVER

if TYPE_CHECKING:
    from faith.lab import Host, ThreeHosts


@dataclass(frozen=True)
class Way:
    """*client* goes to *address*, which stands for *own*, an address of *server*, and to *port*."""

    client: Host
    address: str
    server: Host
    own: str
    port: int

    @property
    def families(self) -> tuple[socket.AddressFamily, socket.AddressFamily]:
        """That of the client, and that of the server."""
        families = socket.AF_INET6, socket.AF_INET
        return families if ":" in self.address else families[::-1]

    def listener(self) -> socket.socket:
        """Of the server's."""
        at = self.own, self.port
        with self.server.inside():
            return socket.create_server(at, family=self.families[1], backlog=4096)

    def connection(self) -> socket.socket:
        """Of the client's.  Raises OSError."""
        with self.client.inside():
            return socket.create_connection((self.address, self.port), 10)


def outward(lab: ThreeHosts, port: int) -> Way:
    """From the lab's client by the prefix to its server."""
    return Way(lab.client, lab.mapped(), lab.server, SERVER, port)


def inward(lab: ThreeHosts, mapped: str, own: str, port: int) -> Way:
    """From the lab's server, which is the client then, to its client, *mapped* from *own*."""
    return Way(lab.server, mapped, lab.client, own, port)
