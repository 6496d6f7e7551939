"""Routes of connections by their two addresses, remembered for the next of their kind."""

from __future__ import annotations

from faith.translation.address import number, text4, text6
from faith.translation.directions import direction_to
from faith.translation.reasons import NO_PREFIX, NOT_MAPPED
from faith.translation.v4_to_v6 import admit_from_v4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.destination import Policy
    from faith.translation.v4_to_v6 import V4ToV6Verdict

REMEMBERED = 8192
"""Routes kept; when there are more, all are forgotten at once."""


CLIENT, GATEWAY, EITHER = SOURCES = "client", "gateway", "either"
"""The source addresses by which IPv6 servers may see clients of IPv4.

An address that stands for the client, without which it is refused; the gateway's own; or that where
there is none for the client.
"""


class Route:
    """The route of a connection: to *server*, from *source*; or *refused*, the reason why not.

    *mapped* is the address the client asked for, which tells the `direction`.  *local* is True for
    one of the gateway's own addresses.  Addresses are texts, *source* None for the kernel's choice.
    *port* is the server's port from IPv4 to IPv6, and 0 the other way: the one the client asked
    for.
    """

    __slots__ = ("direction", "local", "mapped", "port", "refused", "server", "source")

    def __init__(
        self,
        mapped: str,
        server: str = "",
        source: str | None = None,
        refused: str | None = None,
        *,
        local: bool = False,
        port: int = 0,
    ) -> None:
        self.mapped = mapped
        self.direction = direction_to(mapped)
        self.port = port
        self.server = server
        self.source = source
        self.refused = refused
        self.local = local

    def __str__(self) -> str:
        if self.local:
            return "one of the gateway's own addresses"
        return self.refused or f"relayed to {self.server}"


class Routing:
    """Routes by *policy*, with one of `SOURCES` from IPv4 to IPv6; others make all routes new."""

    def __init__(self, policy: Policy, source: str = CLIENT) -> None:
        self._routes: dict[tuple[str, str] | tuple[str, str, int], Route] = {}
        self._policy = policy
        self._source = source

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._routes.clear()

    def set_source(self, source: str) -> None:
        """Have connections from IPv4 to IPv6 made from another one of `SOURCES`."""
        self._source = source
        self._routes.clear()

    def find(self, client: str, mapped: str, port: int) -> Route:
        """Return the route of a connection from *client* to *port* of *mapped*, of one family."""
        key = (client, mapped) if ":" in mapped else (client, mapped, port)
        route = self._routes.get(key)
        if route is None:
            route, lasts = self._resolve(client, mapped, port)
            if lasts:
                if len(self._routes) >= REMEMBERED:
                    self._routes.clear()
                self._routes[key] = route
        return route

    def _resolve(self, client: str, mapped: str, port: int) -> tuple[Route, bool]:
        """Return a route, and whether it holds until the policy changes."""
        if ":" in mapped:
            return route_of(self._policy, client, mapped), True
        found = admit_from_v4(self._policy, number(client), number(mapped), port)
        # An address that is leased to nobody may be leased soon.
        lasts = not found.leased and found.refused != NOT_MAPPED
        return _route_of_map(found, mapped, self._source), lasts


def _route_of_map(found: V4ToV6Verdict, mapped: str, wanted: str) -> Route:
    """Return the route by a map or a lease, with a source as *wanted*."""
    if found.refused:
        return Route(mapped, refused=found.refused)
    if wanted == CLIENT and found.source is None:
        return Route(mapped, refused=NO_PREFIX)
    source = None if found.source is None or wanted == GATEWAY else text6(found.source)
    return Route(mapped, text6(found.server), source, port=found.port)


def route_of(policy: Policy, client: str, mapped: str) -> Route:
    """Return the route of a connection between two IPv6 addresses by *policy*."""
    target = number(mapped)
    prefix = policy.prefixes.find(target)
    if prefix is None:
        return Route(mapped, local=True)
    destination = prefix.unmap(target)
    verdict = policy.admit(number(client), destination, prefix)
    source = None if verdict.source4 is None else text4(verdict.source4)
    return Route(mapped, text4(destination), source, verdict.refused)
