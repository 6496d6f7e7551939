"""What a flow of an IPv6 client's goes out by and comes back by."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

from faith.kernel.sockets.udp_sockets import from_v6

if TYPE_CHECKING:
    from faith.datagram.udp.flows import Flow, Key
    from faith.translation.prefix import Prefix


def key_v6(client: tuple[int, int], zone: int, prefix: Prefix, source: int | None) -> Key:
    """The key of the flow of an endpoint of a client's; *zone* is that of a link-local one."""
    return *client, zone, prefix.address, -1 if source is None else source


class Held:
    """What a flow goes out and comes back by.

    *sock* has *port* at *source*, or at every address of the gateway's if that is None.
    """

    __slots__ = ("backs", "client", "hops_left", "port", "prefix", "sock", "source", "ways")

    def __init__(
        self, sock: _socket.socket, source: int | None, client: tuple[str, int, int], prefix: Prefix
    ) -> None:
        self.sock = sock
        self.source = source
        self.port: int = sock.getsockname()[1]
        self.client = client  # host, port, and the interface of a link-local one
        self.prefix = prefix
        self.backs: dict[tuple[str, int], Back] = {}
        self.hops_left = b""  # as the last datagram had them
        self.ways: set[tuple[object, ...]] = set()  # what is known of it, to be forgotten with it


class Back:
    """From one endpoint of an IPv4 host's to the client of a flow: what is told the kernel."""

    __slots__ = ("control", "peer", "to")

    def __init__(self, source: tuple[str, int], held: Held) -> None:
        self.peer = int.from_bytes(_socket.inet_aton(source[0]), "big")
        self.control = from_v6(held.prefix.map(self.peer).to_bytes(16, "big"))
        self.to = held.client[0], 0, 0, held.client[2]


class Way:
    """From one endpoint of a client's to one of an IPv4 host's.

    *twin* is the flow of another client that has the port there (RFC 4787 REQ-9: hairpin).
    """

    __slots__ = ("flow", "fresh", "seen_as", "server", "to", "twin")

    def __init__(self, flow: Flow, server: int, to: tuple[str, int], twin: Flow | None) -> None:
        self.flow = flow
        self.server = server
        self.to = to
        self.twin = twin
        source, port = flow.held.source, flow.held.port
        # As the kernel has it: what we send to ourselves comes from the same address.
        self.seen_as = (to[0] if source is None else text_v4(source)), port
        self.fresh = 0.0  # until then the flow need not be told that it is used

    @property
    def ended(self) -> bool:
        """Whether it leads nowhere any more."""
        return self.flow.ended or (self.twin is not None and self.twin.ended)


def text_v4(v4: int) -> str:
    """The address as it is written."""
    return _socket.inet_ntoa(v4.to_bytes(4, "big"))
