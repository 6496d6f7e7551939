"""Which servers are asked: those that the operator names, or those of resolv.conf(5) as it is now.

Never this server itself: what it asks itself would go round until somebody gives up.  An address of
this host where another server listens, such as an unbound on 127.0.0.1, is asked like any other.
"""

from __future__ import annotations

import logging
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from faith.dns import listening
from faith.dns.endpoint import in_resolv_conf
from faith.dns.upstream import Upstreams
from faith.dns.upstream_exchange import Exchange, tls_context
from faith.errors import ConfigError
from faith.kernel import text_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faith.dns.dns_counters import Counters
    from faith.dns.endpoint import Endpoint
    from faith.dns.tasks import Tasks

RESOLV_CONF = Path("/etc/resolv.conf")
LOOK = 1.0
"""Seconds from one look at resolv.conf to the next: whether it is the same file, unchanged."""

_ANY = ("::", "0.0.0.0")
_State = tuple[int, ...]

log = logging.getLogger("faith.dns")


class Servers:
    """The servers to ask, and the `upstreams` that ask them.

    *forward* are the operator's; without any, those of resolv.conf are followed.  *mixed_case* is
    as in Exchange, *authorities* as in tls_context.  Raises ConfigError.
    """

    def __init__(
        self,
        forward: Sequence[Endpoint],
        tasks: Tasks,
        counters: Counters,
        *,
        mixed_case: bool = False,
        authorities: str | None = None,
    ) -> None:
        self.upstreams = Upstreams((), tasks, counters)
        self._forward = forward
        self._tasks = tasks
        self._mixed_case = mixed_case
        self._context = tls_context(authorities) if any(s.name for s in forward) else None
        self._own: frozenset[Endpoint] | None = None
        self._state: _State | None = None
        self._exchanges: dict[Endpoint, Exchange] = {}
        self._refused: frozenset[Endpoint] = frozenset()

    def start(self, own: Iterable[Endpoint]) -> None:
        """Ask them from now on; *own* is where this server listens.

        It may be that resolv.conf names none yet.  Raises ConfigError where this server is named,
        by the operator, or by resolv.conf and no other.
        """
        self._own = _spelled(own)
        self._state = _state()
        servers, refused = self._chosen()
        if refused and (self._forward or not servers):
            named = ", ".join(map(str, sorted(refused)))
            source = "--forward" if self._forward else str(RESOLV_CONF)
            raise ConfigError(
                f"{source} names {named}, where this server listens itself, and nobody else to ask;"
                " say which with --forward"
            )
        self._apply(servers, refused)
        if not servers:
            log.warning("%s names no server to ask yet", RESOLV_CONF)
        if not self._forward:
            self._tasks.timers.after(LOOK, self._look)

    def refresh(self, own: Iterable[Endpoint]) -> None:
        """Take note of where this server listens now, once it has started."""
        if self._own is None:
            return
        self._own = _spelled(own)
        self._apply(*self._chosen())

    def asks(self, endpoint: Endpoint) -> bool:
        """Return whether the server at *endpoint* is one of those that are asked."""
        return bool(self._exchanges) and _spelling(endpoint) in map(_spelling, self._exchanges)

    def close(self) -> None:
        """Close all sockets; nobody waits for anything any more."""
        self.upstreams.close()

    def _look(self) -> None:
        self._tasks.timers.after(LOOK, self._look)
        state = _state()
        if state != self._state:
            self._state = state
            self._apply(*self._chosen())

    def _chosen(self) -> tuple[list[Endpoint], frozenset[Endpoint]]:
        """Whom to ask, and whom not, because it is this server."""
        named = dict.fromkeys(self._forward or _of_the_system())
        refused = frozenset(server for server in named if self._is_own(server))
        return [server for server in named if server not in refused], refused

    def _is_own(self, server: Endpoint) -> bool:
        return _spelling(server) in (self._own or ())

    def _apply(self, servers: list[Endpoint], refused: frozenset[Endpoint]) -> None:
        for server in refused - self._refused:
            log.error("%s is not asked: it is this server itself", server)
        self._refused = refused
        if servers == list(self._exchanges):
            return
        is_change = bool(self._exchanges)
        self._exchanges = {
            server: self._exchanges.get(server) or self._exchange(server) for server in servers
        }
        self.upstreams.replace(list(self._exchanges.values()))
        if is_change or not servers:
            log.info("servers to ask: %s", ", ".join(map(str, servers)) or "none")

    def _exchange(self, server: Endpoint) -> Exchange:
        return Exchange(
            server, mixed_case=self._mixed_case, context=self._context, tasks=self._tasks
        )


def _of_the_system() -> list[Endpoint]:
    try:
        return in_resolv_conf(text_file.read_leniently(RESOLV_CONF))
    except OSError:
        return []  # as an empty one: it may come yet


def _state() -> _State | None:
    """Return numbers that differ between contents of resolv.conf, None where there is none."""
    try:
        return text_file.state(RESOLV_CONF)
    except OSError:
        return None


def _spelled(own: Iterable[Endpoint]) -> frozenset[Endpoint]:
    """*own* in one spelling each, without names, and with every address of this host for any."""
    found = set()
    for endpoint in own:
        if endpoint.host in _ANY:
            found |= listening.own_endpoints(endpoint.port)
        found.add(endpoint)
    return frozenset(map(_spelling, found))


def _spelling(endpoint: Endpoint) -> Endpoint:
    return endpoint._replace(host=str(ip_address(endpoint.host)), name=None)
