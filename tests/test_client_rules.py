"""The rules of a proxy's client, by its settings and from another process."""

from __future__ import annotations

import json
from dataclasses import replace

from faith.proxy.proxy_rules import ProxyRules
from faith.relay.proxy.client_rules import REMEMBERED, ClientRules, restored_rules, rules_state
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.translation.access import Access
from faith.translation.address import number6
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix, Prefixes

SETTINGS = ProxySettings(
    "::",
    1080,
    methods=frozenset({"socks5", "http"}),
    connect_ports=Ports([(443, 443), (8000, 8080)]),
    users={"alice": "hash"},
    bind=False,
    pseudonym="gateway",
    autoconfig=False,
)


def policy(*connected: tuple[int, int]) -> Policy:
    prefixes = Prefixes([Prefix.parse("2001:db8:ffff::/96")])
    return Policy(prefixes, Networks(32), Access(), connected=Networks(128, connected))


def test_they_are_those_of_the_settings() -> None:
    assert ClientRules(policy).find(SETTINGS, "2001:db8::1", 1080) == ProxyRules(
        methods=SETTINGS.methods,
        needs_user=True,
        connect_ports=SETTINGS.connect_ports,
        bind=False,
        associate=True,
        pseudonym="gateway",
        own=frozenset({("2001:db8::1", 1080)}),
    )


def test_the_file_of_browsers_has_where_they_came_and_what_is_near() -> None:
    rules = ClientRules(lambda: policy((number6("192.0.2.0"), 120)))
    text = rules.find(ProxySettings("::", 1080), "192.0.2.1", 1080).autoconfig
    assert text
    assert "PROXY 192.0.2.1:1080" in text
    assert "// 192.0.2.0/24" in text
    assert "// 2001:db8:ffff::/96" in text
    other = rules.find(ProxySettings("::", 1080), "2001:db8::1", 1080).autoconfig
    assert other
    assert "PROXY [2001:db8::1]:1080" in other
    assert "// 2001:db8:ffff::/96" in other
    assert "// 192.0.2.0/24" not in other, "an IPv6-only client has no way there"


def test_they_are_made_once_until_something_changes() -> None:
    policies = [policy()]
    rules = ClientRules(lambda: policies[-1])
    settings = ProxySettings("::", 1080)
    first = rules.find(settings, "192.0.2.1", 1080)
    assert rules.find(settings, "192.0.2.1", 1080) is first
    assert rules.find(replace(settings, bind=False), "192.0.2.1", 1080).bind is False
    policies.append(policy((number6("192.0.2.0"), 120)))
    assert rules.find(settings, "192.0.2.1", 1080).autoconfig != first.autoconfig


def test_few_are_kept() -> None:
    rules, settings = ClientRules(policy), replace(SETTINGS, autoconfig=False)
    for port in range(1, 1000):
        assert rules.find(settings, "192.0.2.1", port).own == {("192.0.2.1", port)}
    assert len(rules._rules) <= REMEMBERED


def test_they_come_along() -> None:
    rules = ClientRules(policy).find(SETTINGS, "2001:db8::1", 1080)
    assert restored_rules(json.loads(json.dumps(rules_state(rules)))) == rules
    browsers = ClientRules(policy).find(ProxySettings("::", 1080), "2001:db8::1", 1080)
    assert restored_rules(rules_state(browsers)) == replace(browsers, autoconfig=None)
