"""The two paths of a flow of an IPv6 client: forward to IPv4 hosts, and the return path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.sockets.packet_info import control
from faith.translation.address import V6, number, packed6, text4

if TYPE_CHECKING:
    import _socket

    from faith.translation.prefix import Prefix
    from faith.translation.udp.flows import Flow, Key


def key_v6(client: tuple[int, int], zone: int, prefix: Prefix, source: int | None) -> Key:
    """Return the key of the flow of a client's endpoint; *zone* is that of a link-local address."""
    return *client, zone, prefix.address, -1 if source is None else source


class V6ToV4Ends:
    """The gateway's end of a flow: its socket, and the paths that use it.

    *sock* is bound to *port* of *source*, or of every address of the gateway if *source* is None.
    """

    __slots__ = (
        "client",
        "fields",
        "path_keys",
        "port",
        "prefix",
        "return_paths",
        "sock",
        "source",
    )

    def __init__(
        self, sock: _socket.socket, source: int | None, client: tuple[str, int, int], prefix: Prefix
    ) -> None:
        self.sock = sock
        self.source = source
        self.port: int = sock.getsockname()[1]
        self.client = client  # host, port, and the interface index of a link-local address
        self.prefix = prefix
        self.return_paths: dict[tuple[str, int], ReturnPath] = {}
        self.fields = b""  # of the last datagram
        # the keys of paths that use this flow, removed with it
        self.path_keys: set[tuple[object, ...]] = set()


class ReturnPath:
    """The return path from an IPv4 host's endpoint to the client of a flow: sendmsg's arguments.

    *traffic_class* is that of the last datagram as it came.
    """

    __slots__ = ("control", "peer", "source", "to", "traffic_class")

    def __init__(self, source: tuple[str, int], ends: V6ToV4Ends) -> None:
        self.peer = number(source[0])
        self.source = ends.prefix.map(self.peer)
        self.control = control(V6, packed6(self.source))
        self.to = ends.client[0], 0, 0, ends.client[2]
        self.traffic_class = 0

    def mark(self, came: int, sent: int) -> None:
        """Send with the traffic class *sent* while datagrams have *came*."""
        self.traffic_class = came
        self.control = control(V6, packed6(self.source), traffic_class=sent)


class ForwardPath:
    """The forward path from a client's endpoint to an IPv4 host's.

    *twin* is the flow of another client that has the port there (RFC 4787 REQ-9: hairpinning).
    """

    __slots__ = ("flow", "fresh", "seen_as", "server", "to", "twin")

    def __init__(self, flow: Flow, server: int, to: tuple[str, int], twin: Flow | None) -> None:
        self.flow = flow
        self.server = server
        self.to = to
        self.twin = twin
        source, port = flow.ends.source, flow.ends.port
        # As the kernel does: a datagram to the gateway itself comes from the same address.
        self.seen_as = (to[0] if source is None else text4(source)), port
        self.fresh = 0.0  # the flow need not be touched before this time

    @property
    def ended(self) -> bool:
        """True if a flow of this path has ended."""
        return self.flow.ended or (self.twin is not None and self.twin.ended)
