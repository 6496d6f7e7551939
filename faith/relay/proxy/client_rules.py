"""The rules of one client, made of a proxy's settings, or brought along from another process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from faith.proxy.autoconfig import autoconfig
from faith.proxy.proxy_rules import ProxyRules
from faith.translation.address import number6
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.translation.destination import Policy


REMEMBERED = 64
"""Addresses of proxies whose rules are kept at hand; when there are more, all are forgotten."""


class ClientRules:
    """Makes rules of the settings of proxies, one for each address by which clients reach them.

    *policy* returns the one in force, which has the networks that clients reach without a proxy.
    """

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self._made_by: Policy | None = None
        self._rules: dict[tuple[str, int], tuple[ProxySettings, ProxyRules]] = {}

    def find(self, settings: ProxySettings, host: str, port: int) -> ProxyRules:
        """Return the rules for a client that has come to *port* of the address *host*."""
        policy = self._policy()
        if policy is not self._made_by or len(self._rules) >= REMEMBERED:
            self._rules.clear()
            self._made_by = policy
        known = self._rules.get((host, port))
        if known is not None and known[0] is settings:
            return known[1]
        rules = _rules(settings, host, port)
        if settings.autoconfig:
            direct = [*_on_link(policy, host), *((p.address, p.length) for p in policy.prefixes)]
            rules = replace(rules, autoconfig=autoconfig(host, port, rules, direct))
        self._rules[host, port] = settings, rules
        return rules


def _on_link(policy: Policy, host: str) -> list[tuple[int, int]]:
    """Return the networks on the link of the proxy's address *host*.

    Who came to that address reaches these; another link of the gateway's may be of the other
    family, which is what the proxy is there for.
    """
    own = number6(host)
    return [one for one in policy.connected if (one[0] ^ own) >> 128 - one[1] == 0]


def _rules(settings: ProxySettings, host: str, port: int) -> ProxyRules:
    return ProxyRules(
        methods=settings.methods,
        needs_user=bool(settings.users),
        connect_ports=settings.connect_ports,
        bind=settings.bind,
        associate=settings.associate,
        pseudonym=settings.pseudonym,
        own=frozenset(((host, port),)),
    )


def rules_state(rules: ProxyRules) -> dict[str, Any]:
    """Return the state of *rules* for `restored_rules`, fit for JSON, but for the file of browsers.

    That may be long, and who asks for it does not come during an upgrade.
    """
    return {
        "methods": sorted(rules.methods),
        "needs_user": rules.needs_user,
        "connect_ports": rules.connect_ports.ranges,
        "bind": rules.bind,
        "associate": rules.associate,
        "pseudonym": rules.pseudonym,
        "own": sorted(rules.own),
    }


def restored_rules(state: dict[str, Any]) -> ProxyRules:
    """Return the rules whose state it is."""
    methods, ports = frozenset(state["methods"]), Ports(map(tuple, state["connect_ports"]))
    own = frozenset((host, port) for host, port in state["own"])
    return ProxyRules(**{**state, "methods": methods, "connect_ports": ports, "own": own})
