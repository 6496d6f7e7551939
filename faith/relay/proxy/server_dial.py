"""A server that is dialled for a proxy's client: judged by the policy, connected as all are."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import dscp_of
from faith.relay.proxy.happy_dial import Dialling, HappyDial
from faith.relay.tcp.proxy_header import introduce
from faith.relay.tcp.routing import Route
from faith.translation.address import number6
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.proxied_destination import admit_proxied

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from faith.proxy.proxy_events import Target
    from faith.relay.proxy.happy_dial import Connected
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.record import Endpoint
    from faith.relay.tcp.session import Session
    from faith.translation.directions import Direction
    from faith.translation.proxied_destination import ProxiedVerdict

REMEMBERED = 1024
"""Routes, and servers as they are asked for, that sessions share: they have them to their end."""


class ServerDial:
    """Dials *target* for the client of *session*, which asks for it by *method*.

    *done* is called later: with None once the session has the server, or the reason why not.
    """

    def __init__(
        self,
        means: ProxyMeans,
        session: Session,
        target: Target,
        method: str,
        done: Callable[[str | None], object],
    ) -> None:
        session.method, session.asked = method, _endpoint(target.host, target.port)
        means.counters.proxy_request(method)
        self.target = target
        self._means = means
        self._session = session
        self._method = method
        self._done = done
        self._begun = means.loop.time()
        seconds = means.settings().connect_timeout
        self._dial = HappyDial(_dialling(means, session), target, seconds, self._answered)

    def cancel(self) -> None:
        """Stop: *done* is not called any more."""
        self._dial.cancel()

    def state(self) -> list[Any]:
        """Return the arguments of another dial, in another process, fit for JSON."""
        target = self.target
        return [target.host, target.port, target.is_address, self._method]

    def _answered(self, outcome: Connected | str) -> None:
        if isinstance(outcome, str):
            self._done(outcome)
            return
        session, means, verdict = self._session, self._means, outcome.verdict
        route = _route(session.route.mapped, verdict.server, verdict.source, verdict.port)
        session.connect(outcome.sock, route, route.port)
        session.server.error = outcome.error
        means.counters.dialled(means.loop.time() - self._begun)
        means.begun(session)
        _greet(means, session, outcome)
        self._done(None)


@lru_cache(REMEMBERED)
def _endpoint(host: str, port: int) -> Endpoint:
    return host, port


@lru_cache(REMEMBERED)
def _route(mapped: str, server: str, source: str | None, port: int) -> Route:
    return Route(mapped, server, source, port=port)


def _dialling(means: ProxyMeans, session: Session) -> Dialling:
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

    calls = judge, connect, means.why
    return Dialling(means.loop, means.plane, means.names, *calls, session.share)


def _greet(means: ProxyMeans, session: Session, server: Connected) -> None:
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
