"""The facts about what a client asks a proxy for: the way to the proxy, the name, each server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.cli.explain.explanation import Question
    from faith.cli.explain.facts import Facts
    from faith.daemon.config.proxied_decision import ProxiedExplained, ProxyForClient


@dataclass(frozen=True)
class ServerState:
    """A name server that the daemon asks: *error* is why it gives no answer, or ""."""

    address: str
    error: str = ""


@dataclass(frozen=True)
class ProxiedName:
    """The *addresses* of a *name* in the order in which they are tried, as the daemon finds them.

    They are from *hosts*, a file as hosts(5), unless that is "", or else from *servers*.  *failure*
    is a reason of `faith.translation.reasons` where there is no address.
    """

    name: str
    addresses: tuple[str, ...] = ()
    failure: str = ""
    hosts: str = ""
    servers: tuple[ServerState, ...] = ()

    @property
    def dead(self) -> tuple[ServerState, ...]:
        """The servers that give no answer."""
        return tuple(one for one in self.servers if one.error)


@dataclass(frozen=True)
class ProxiedFacts:
    """The facts about *question*.

    *front* are those of the client's connection to the *proxy*, or with None to none; *explained*
    is the daemon's own answer.  *at* is where the client connects to, as it was asked for: an
    address, and a port or None.  *targets* are the facts about each address of the server.
    """

    question: Question
    front: Facts
    explained: ProxiedExplained | None = None
    proxy: ProxyForClient | None = None
    at: tuple[str, int | None] | None = None
    name: ProxiedName | None = None
    targets: tuple[Facts, ...] = ()
