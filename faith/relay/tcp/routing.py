"""From a connection's two addresses to where it goes, remembered for the next of its kind."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton

from faith.translation.reasons import NOT_MAPPED
from faith.translation.v4_to_v6 import admit_from_v4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.destination import Policy
    from faith.translation.v4_to_v6 import V4ToV6Verdict

REMEMBERED = 8192
"""Routes kept; when there are more, all are forgotten at once."""


class Route:
    """The route of a connection: to *server*, from *source*; or *refused*, the reason why not.

    *mapped* is the address the client asked for.  *local* is True for one of the gateway's own
    addresses.  Addresses are texts, *source* None for the kernel's choice.  For a client of IPv4 it
    says the server's *port* too, which is 0 for others: theirs is the one they asked for.
    """

    __slots__ = ("local", "mapped", "port", "refused", "server", "source")

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
    """Answers by *policy*, which is a value: a new one makes all answers new."""

    def __init__(self, policy: Policy) -> None:
        self._routes: dict[tuple[str, str], Route] = {}
        self._v4_to_v6: dict[tuple[str, str, int], Route] = {}
        self._policy = policy

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._routes.clear()
        self._v4_to_v6.clear()

    def find(self, client: str, mapped: str) -> Route:
        """The route of a connection from *client* to *mapped*, both IPv6 addresses as text."""
        key = client, mapped
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= REMEMBERED:
                self._routes.clear()
            route = self._routes[key] = route_of(self._policy, client, mapped)
        return route

    def find_v4_to_v6(self, client: str, mapped: str, port: int) -> Route:
        """The route of a connection from *client* to *port* of *mapped*, IPv4 addresses as text."""
        key = client, mapped, port
        route = self._v4_to_v6.get(key)
        if route is None:
            found = admit_from_v4(self._policy, number(client), number(mapped), port)
            route = _v4_to_v6_route(found, mapped)
            # An address that nobody was lent may be lent soon.
            if not found.leased and found.refused != NOT_MAPPED:
                if len(self._v4_to_v6) >= REMEMBERED:
                    self._v4_to_v6.clear()
                self._v4_to_v6[key] = route
        return route


def _v4_to_v6_route(found: V4ToV6Verdict, mapped: str) -> Route:
    if found.refused:
        return Route(mapped, refused=found.refused)
    source = None if found.source is None else _text6(found.source)
    return Route(mapped, _text6(found.server), source, port=found.port)


def route_of(policy: Policy, client: str, mapped: str) -> Route:
    """As :meth:`Routing.find`, with nothing remembered."""
    target = number(mapped)
    prefix = policy.prefixes.find(target)
    if prefix is None:
        return Route(mapped, local=True)
    destination = prefix.unmap(target)
    verdict = policy.admit(number(client), destination, prefix)
    source = None if verdict.source4 is None else _text(verdict.source4)
    return Route(mapped, _text(destination), source, verdict.refused)


def number(address: str) -> int:
    """An address, which may name its interface, as a number of its family's width."""
    family = AF_INET6 if ":" in address else AF_INET
    return int.from_bytes(inet_pton(family, address.partition("%")[0]), "big")


def _text(v4: int) -> str:
    return inet_ntoa(v4.to_bytes(4, "big"))


def _text6(v6: int) -> str:
    return inet_ntop(AF_INET6, v6.to_bytes(16, "big"))
