"""The rules of one client, made of a proxy's settings, or brought along from another process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.proxy.proxy_rules import ProxyRules
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from faith.relay.proxy.proxy_settings import ProxySettings


def rules_for(
    settings: ProxySettings, host: str, port: int, autoconfig: str | None = None
) -> ProxyRules:
    """Return the rules for a client that has come to *port* of the proxy's address *host*."""
    return ProxyRules(
        methods=settings.methods,
        needs_user=bool(settings.users),
        connect_ports=settings.connect_ports,
        bind=settings.bind,
        associate=settings.associate,
        pseudonym=settings.pseudonym,
        autoconfig=autoconfig if settings.autoconfig else None,
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
