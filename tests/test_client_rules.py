"""The rules of a proxy's client, by its settings and from another process."""

from __future__ import annotations

import json

from faith.proxy.proxy_rules import ProxyRules
from faith.relay.proxy.client_rules import restored_rules, rules_for, rules_state
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.translation.ports import Ports

SETTINGS = ProxySettings(
    "::",
    1080,
    methods=frozenset({"socks5", "http"}),
    connect_ports=Ports([(443, 443), (8000, 8080)]),
    users={"alice": "hash"},
    bind=False,
    pseudonym="gateway",
)


def test_they_are_those_of_the_settings() -> None:
    assert rules_for(SETTINGS, "2001:db8::1", 1080, "text") == ProxyRules(
        methods=SETTINGS.methods,
        needs_user=True,
        connect_ports=SETTINGS.connect_ports,
        bind=False,
        associate=True,
        pseudonym="gateway",
        autoconfig="text",
        own=frozenset({("2001:db8::1", 1080)}),
    )
    plain = rules_for(ProxySettings("::", 1080, autoconfig=False), "192.0.2.1", 1080, "text")
    assert not plain.needs_user
    assert plain.autoconfig is None


def test_they_come_along() -> None:
    rules = rules_for(SETTINGS, "2001:db8::1", 1080)
    assert restored_rules(json.loads(json.dumps(rules_state(rules)))) == rules
