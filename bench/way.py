"""How clients get to the origin: by asking a proxy, or without asking anybody."""

from __future__ import annotations

from typing import NamedTuple

from faith.lab.topology import SERVER

CONNECT, SOCKS5, FORWARD = "connect", "socks5", "http"
"""How a proxy can be asked: for a tunnel by HTTP or SOCKS, for a request."""
TUNNEL = "tunnel"
"""Either of the first two."""
PLAIN = "plain"


class Way(NamedTuple):
    """To a *port* of the origin by a *method*, and by *address* and a port *at* it."""

    method: str
    address: str
    at: int
    port: int

    @classmethod
    def plain(cls, address: str, port: int) -> Way:
        """Without a proxy, by the same port of *address*."""
        return cls(PLAIN, address, port, port)

    @property
    def words(self) -> tuple[str, ...]:
        """As the programs of clients have it."""
        return (self.method, self.address, str(self.at), SERVER, str(self.port))
