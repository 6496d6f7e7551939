"""How a proxy's client gets to a server: judged by its policy, connected as the relay connects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import dscp_of
from faith.relay.proxy.happy_dial import Dialling
from faith.relay.tcp.proxy_header import introduce
from faith.translation.address import number6
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.proxied_destination import admit_proxied

if TYPE_CHECKING:
    import _socket

    from faith.relay.proxy.happy_dial import Connected
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.session import Session
    from faith.translation.directions import Direction
    from faith.translation.proxied_destination import ProxiedVerdict


def dialling(means: ProxyMeans, session: Session) -> Dialling:
    """Return the means to dial a server for the client of *session*."""
    client = number6(session.client_host)

    def judge(address: str, port: int) -> ProxiedVerdict:
        return admit_proxied(means.policy(), client, address, port)

    def connect(verdict: ProxiedVerdict) -> tuple[_socket.socket, int]:
        carries = verdict.port in means.settings().dscp_ports(_direction(verdict.server))
        return means.source_ports.connect(
            verdict.server,
            verdict.port,
            verdict.source,
            client=session.client_host,
            traffic_class=dscp_of(session.client.sock) if carries else 0,
        )

    return Dialling(means.loop, means.plane, means.names, judge, connect, means.why)


def greet(means: ProxyMeans, session: Session, server: Connected) -> None:
    """Introduce the client of *session* to its *server*, if such servers expect that.

    Among IPv6 servers, those do that an IPv4 address leads to: whoever has maps has set them up.
    """
    direction = _direction(server.verdict.server)
    if direction is V4_TO_V6 and number6(server.address) == number6(server.verdict.server):
        return
    version = means.settings().proxy(direction, server.verdict.port)
    if version:
        introduce(session, version)


def _direction(server: str) -> Direction:
    """Return the direction whose settings apply to a server of that family."""
    return V4_TO_V6 if ":" in server else V6_TO_V4
