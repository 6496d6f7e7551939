"""The answer to ``faith explain``: what this daemon would do with a connection, and has for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from faith.daemon.config.decision import PROTOCOLS, Decision, decide
from faith.daemon.config.proxied_decision import ProxiedExplained, decide_each, proxies_for
from faith.daemon.config.settings import KERNEL
from faith.daemon.config.worker_settings import NameSettings
from faith.errors import ConfigError, FaithError
from faith.flow.judge import Judge
from faith.flow.route_cache import RouteCache
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.translation.address import family_of, number6, packed
from faith.translation.map import TCP
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.process.channel import Message
    from faith.daemon.process.control_socket import Request
    from faith.daemon.services.kernel_path import KernelPath
    from faith.daemon.services.relaying import Relaying
    from faith.daemon.services.running_policy import RunningPolicy
    from faith.dns.service import Settings as DnsSettings

MOST_ADDRESSES = 64
"""Addresses that one request about a proxy's client may have."""
_MOST_PORT = 65535


class Explained(msgspec.Struct, frozen=True):
    """The *decision* of a running daemon, and what only it knows.

    *path* is that which the connection goes by, *path_reason* why it is not the kernel path.
    *limit* is the reason of the limit that refuses the client now, or None.  *conflicts* are other
    hosts that answer for mapped addresses.  *dns* are the addresses that it answers for names at.
    *steered* says whether its way of steering is in place.
    """

    decision: Decision
    path: str = "relay"
    path_reason: str = ""
    limit: str | None = None
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    conflicts: list[str] = msgspec.field(default_factory=list)
    dns: list[str] | None = None
    dns_serves: bool = True
    """Names are answered for this client."""
    steered: bool = True
    workers: int = 0
    standby: str = ""
    """The address of VRRP that it waits for, with its maps; "" where it serves them."""


class ExplainQuery:
    """Answers the commands ``explain`` and ``explain-proxy`` of the control socket.

    The request of the first has a *client*, a *destination* (the mapped address), a *port* and a
    *protocol*; that of the second a *client*, *addresses* of a server and a *port*.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        policy: RunningPolicy,
        relaying: Relaying,
        kernel_path: KernelPath,
        leases: AddressLeases,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._relaying = relaying
        self._kernel_path = kernel_path
        self._leases = leases

    def answer(self, request: Request) -> None:
        """Answer *request*, or say what is wrong with it."""
        try:
            explained = self._explain(*_words(request.words))
        except (FaithError, OSError, ValueError) as error:
            request.fail(error)
        else:
            request.answer(**msgspec.to_builtins(explained))

    def answer_proxied(self, request: Request) -> None:
        """Answer *request* about a client of the proxies, or say what is wrong with it."""
        try:
            explained = self._explain_proxied(*_proxied_words(request.words))
        except (FaithError, OSError, ValueError) as error:
            request.fail(error)
        else:
            request.answer(**msgspec.to_builtins(explained))

    def _explain_proxied(self, client: str, addresses: list[str], port: int) -> ProxiedExplained:
        settings, inputs = self._settings(), self._policy.in_force
        return ProxiedExplained(
            proxies_for(inputs, settings, client),
            decide_each(inputs, settings, client, addresses, port, self._leases.look),
            self._relaying.local_service.limit_of(client),
            {name: value for name, value in asdict(settings.relay.limits).items() if value},
            NameSettings.of(settings),
            len(self._relaying.pool.pids),
            settings.user,
        )

    def _explain(self, client: str, mapped: str, port: int, protocol: str) -> Explained:
        settings, inputs = self._settings(), self._policy.in_force
        leases = self._leases.look
        decision = decide(inputs, settings, client, mapped, port, protocol, leases)
        path, why = self._path(port) if protocol == TCP and ":" in mapped else ("relay", "")
        if path == KERNEL and not decision.refused:
            decision = self._judged(decision, client, mapped)
        limits = settings.relay.limits
        return Explained(
            decision,
            path,
            why,
            self._relaying.local_service.limit_of(client) if protocol == TCP else None,
            {name: value for name, value in asdict(limits).items() if value},
            [one.text for one in self._relaying.conflicts.findings()],
            name_servers(settings),
            settings.dns is None or _answers_names(settings.dns, client),
            self._relaying.steering.in_place(),
            len(self._relaying.pool.pids),
            self._policy.waits_for,
        )

    def _path(self, port: int) -> tuple[str, str]:
        for served in self._kernel_path.paths():
            if served.ports and port in Ports.parse(served.ports, _no_name):
                return served.path, served.reason
        return "relay", ""

    def _judged(self, decision: Decision, client: str, mapped: str) -> Decision:
        """Return *decision* with what the kernel path refuses beyond policy: routes and sources."""
        flows = self._settings().flows
        if flows is None:
            return decision
        with Netlink.create(NETLINK_ROUTE) as netlink:
            judge = Judge(self._policy.in_force.policy(), flows, RouteCache(netlink))
            found = judge.judge(packed(client) + packed(mapped), 0)
        return msgspec.structs.replace(decision, refused=found.refused)


def _words(words: Message) -> tuple[str, str, int, str]:
    """Return client, destination, port and protocol of a request.  Raises ConfigError."""
    client, mapped = str(words.get("client")), str(words.get("destination"))
    port, protocol = words.get("port"), words.get("protocol")
    try:
        packed(client), packed(mapped)
    except OSError:
        raise ConfigError("client and destination are to be addresses") from None
    if family_of(client) != family_of(mapped):
        raise ConfigError("client and destination are to be of one family")
    if not isinstance(port, int) or not 0 <= port <= _MOST_PORT:
        raise ConfigError("port is to be a number from 0 to 65535")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol is to be one of {', '.join(PROTOCOLS)}")
    return client, mapped, port, str(protocol)


def _answers_names(settings: DnsSettings, client: str) -> bool:
    from faith.dns.service import serves  # a daemon with [dns] has imported it, others need not

    return serves(settings, number6(client))


def _proxied_words(words: Message) -> tuple[str, list[str], int]:
    """Return client, addresses and port of a request about a proxy.  Raises ConfigError."""
    client, addresses, port = str(words.get("client")), words.get("addresses"), words.get("port")
    if not isinstance(addresses, list) or len(addresses) > MOST_ADDRESSES:
        raise ConfigError(f"addresses are to be a list of at most {MOST_ADDRESSES}")
    try:
        for one in (client, *addresses):
            packed(str(one))
    except OSError:
        raise ConfigError("client and addresses are to be addresses") from None
    if not isinstance(port, int) or not 0 < port <= _MOST_PORT:
        raise ConfigError("port is to be a number from 1 to 65535")
    return client, [str(one) for one in addresses], port


def name_servers(settings: Settings) -> list[str] | None:
    """Return where *settings* have names answered, as ``ADDRESS#PORT``; None where they do not.

    An empty list is every address of the host.
    """
    if settings.dns is None:
        return None
    return [f"{one.host}#{one.port}" for one in settings.dns.listen]


def _no_name(name: str, protocol: str) -> int:
    raise ValueError(name)
