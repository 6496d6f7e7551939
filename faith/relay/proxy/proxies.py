"""The proxies of one worker: their listeners, and the clients that have yet to become sessions."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from sys import intern
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import reset
from faith.relay.proxy.client_rules import ClientRules, restored_rules
from faith.relay.proxy.client_session import UNTOLD, new_session
from faith.relay.proxy.client_table import ClientTable
from faith.relay.proxy.passed_clients import PassedClients
from faith.relay.proxy.proxy_client import ProxyClient
from faith.relay.tcp.listener import Listener, adopt
from faith.relay.tcp.record import Record
from faith.translation.address import number6, unmapped
from faith.translation.networks import Networks
from faith.translation.reasons import NOT_A_CLIENT, STOPPED

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from faith.relay.proxy.passed_clients import Introduction
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.relay.tcp.listener import Peer, Reserve
    from faith.relay.tcp.record import Endpoint
    from faith.relay.tcp.session import Session

log = logging.getLogger("faith.proxy")

_AF_UNIX = 1


@dataclass
class _Proxy:
    """One proxy: what listens, by which settings, and for which clients (None: on our links)."""

    listener: Listener | None
    settings: ProxySettings
    clients: Networks | None


class Proxies:
    """Serves the clients of proxies until their sessions are the plane's.

    *exhausted* and *reserve* are those of `Listener`.
    """

    def __init__(
        self, means: ProxyMeans, exhausted: Callable[[Listener, bool], None], reserve: Reserve
    ) -> None:
        self._means = means
        self._exhausted = exhausted
        self._reserve = reserve
        self._rules = ClientRules(means.policy)
        self._proxies: dict[int, _Proxy] = {}
        self._channels: dict[int, PassedClients] = {}
        self._passed: dict[Endpoint, _Proxy] = {}
        """The proxies whose clients come from there, by where they listen."""
        self._known: dict[Endpoint, _Proxy] = {}
        self._table: ClientTable[ProxyClient] = ClientTable(
            means.loop, means.settings().greeting_timeout, ProxyClient.overdue
        )
        self._clients = self._table.clients

    # -- listening ---------------------------------------------------------------------------

    def serve(self, proxies: Iterable[tuple[_socket.socket, ProxySettings]]) -> None:
        """Accept from these listeners, each by its settings, and no more from any others.

        A listener that stays may have new settings: for the next client, and for the next request
        of those that keep a connection; where the proxy is gone, or is not for them any more, these
        are hung up on.  A channel of `faith.relay.proxy.passed_clients` is one for any number of
        proxies.  All sockets stay the caller's; one that goes has to be open until this returns.
        """
        self._table.drains = False
        self._listen(proxies)
        served = (*self._proxies.values(), *self._passed.values())
        self._known = {(one.settings.host, one.settings.port): one for one in served}
        for session, client in list(self._clients.items()):
            self._apply(session, client)

    def _listen(self, proxies: Iterable[tuple[_socket.socket, ProxySettings]]) -> None:
        before, self._proxies = self._proxies, {}
        channels, self._channels = self._channels, {}
        self._passed.clear()
        for sock, settings in proxies:
            fd = sock.fileno()
            clients = None if settings.clients is None else Networks(128, settings.clients)
            if sock.family == _AF_UNIX:
                passed = self._channels.get(fd) or channels.pop(fd, None)
                if passed is None:
                    passed = PassedClients(sock, self._came)
                    self._means.plane.watch(fd, passed)
                self._channels[fd] = passed
                self._passed[settings.host, settings.port] = _Proxy(None, settings, clients)
                continue
            known = before.pop(fd, None)
            listener = known.listener if known else None
            if listener is None:
                listener = Listener(
                    sock, partial(self._accepted, fd), self._exhausted, self._reserve
                )
                self._means.plane.watch(fd, listener)
            self._proxies[fd] = _Proxy(listener, settings, clients)
        for fd in (*before, *channels):
            self._means.plane.unwatch(fd)

    def _apply(self, session: Session, client: ProxyClient) -> None:
        """Have *client* of *session* served by the settings that its proxy has now."""
        proxy = self._known.get(client.proxy)
        if proxy is None or not self._serves(proxy, session.client_host):
            client.retire()
        else:
            at = session.route.mapped, session.mapped_port
            client.apply(self._rules.find(proxy.settings, *at))

    def drain(self, *, hang_up: bool) -> None:
        """Accept no more; with *hang_up*, connections are not kept alive for further requests."""
        self._listen(())
        if hang_up:
            self._table.drains = True
            for client in list(self._clients.values()):
                client.drain()

    def __contains__(self, listener: Listener) -> bool:
        return any(one.listener is listener for one in self._proxies.values())

    @property
    def listens(self) -> bool:
        """Return whether clients are accepted."""
        return bool(self._proxies or self._passed)

    def limit(self, seconds: float) -> None:
        """Give clients that have to ask from now on another time, and datagrams their limits."""
        self._table.greeting.limit(seconds)
        self._means.associations.limit(self._means.settings().datagrams)

    # -- clients -----------------------------------------------------------------------------

    def _accepted(self, at: int, fd: int, peer: Peer) -> None:
        proxy = self._proxies[at]
        assert proxy.listener is not None
        client = adopt(fd, proxy.listener.sock.family)
        local, local_port = client.getsockname()[:2]
        self._begin(proxy, client, (unmapped(peer[0]), peer[1]), (unmapped(local), local_port))

    def _came(self, client: _socket.socket, told: Introduction) -> None:
        """Serve a client that was passed on, unless its proxy has gone meanwhile."""
        proxy = self._passed.get(told.proxy)
        if proxy is None:
            client.close()
        else:
            self._begin(proxy, client, told.client, told.local)

    def _begin(self, proxy: _Proxy, client: _socket.socket, peer: Endpoint, at: Endpoint) -> None:
        means, (host, port), (local, local_port) = self._means, peer, at
        local = intern(local)  # every session of the proxy has it
        now = means.loop.time()
        why = None if self._serves(proxy, host) else NOT_A_CLIENT
        if why := why or means.accounting.excess(host, now):
            reset(client)
            means.counters.refused(why)
            means.report(Record((host, port), (local, local_port), why, time.time(), method=UNTOLD))
            return
        session = new_session(client, (host, port), (local, local_port), now)
        means.accounting.begun(session)
        settings = proxy.settings
        rules = self._rules.find(settings, local, local_port)
        name = settings.host, settings.port
        ProxyClient(means, self._table, session, rules, name, self._users).start()

    def _serves(self, proxy: _Proxy, host: str) -> bool:
        client = number6(host)
        if proxy.clients is None:
            return self._means.policy().is_connected(client)
        return client in proxy.clients

    def _users(self, name: tuple[str, int]) -> Mapping[str, str]:
        """Return the users of the proxy of that host and port, as they are now.

        While a worker drains, or hands its clients over, they are those of before.
        """
        proxy = self._known.get(name)
        return proxy.settings.users if proxy else {}

    # -- in another process ------------------------------------------------------------------

    def movable(self) -> list[Session]:
        """Return the sessions of clients that can be handed over as they stand now."""
        return [session for session, one in self._clients.items() if one.can_be_handed_over]

    def hand_over(self, session: Session) -> tuple[dict[str, Any], list[int]]:
        """Let go of a client, for `resume` elsewhere: its state and descriptors."""
        return self._clients[session].hand_over()

    def resume(self, session: Session, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on with a client that was handed over."""
        host, port = state["proxy"]
        rules = restored_rules(state["rules"])
        name = host, port
        client = ProxyClient(self._means, self._table, session, rules, name, self._users)
        client.resume(state, descriptors)
        if self._known and self._clients.get(session) is client:
            self._apply(session, client)

    # -- sessions ----------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        """Return the sessions of all clients, with a server and without."""
        return list(self._clients)

    def forwarded(self) -> list[Session]:
        """Return the sessions of those whose requests or datagrams are forwarded to servers."""
        return [session for session, client in self._clients.items() if client.has_server]

    def oldest(self, most: int) -> list[Session]:
        """Return some sessions that can make room, at most *most* of each stage."""
        return self._table.oldest(most)

    def holds(self, session: Session) -> bool:
        """Return whether *session* is the current one of a client."""
        return session in self._clients

    def stage(self, session: Session) -> str:
        """Return the stage of a client's session, which may be "listening" besides others."""
        return self._clients[session].stage

    def end(self, session: Session, how: str, *, reset: bool) -> None:
        """End a client's session, and its connection."""
        self._clients[session].end(how, reset=reset)

    def leave_server(self, session: Session, how: str) -> None:
        """End the session with a server to which a client's requests are forwarded."""
        self._clients[session].leave_server(how)

    def close(self) -> None:
        """Reset every client that is left."""
        self._listen(())
        for session in self.sessions():
            self.end(session, STOPPED, reset=True)
        self._table.greeting.close()
        self._means.users.close()


class Forwarded:
    """The sessions with servers to which *proxies* forward requests, as `IdleTimeouts` has them."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def sessions(self) -> list[Session]:
        """Return these sessions."""
        return self._proxies.forwarded()

    def end(self, session: Session, how: str, *, reset: bool) -> None:
        """End one of them; the client is told, and may ask for something else."""
        self._proxies.leave_server(session, how)
