"""What a daemon says about a client of its proxies: for whom they are, and each address judged."""

from __future__ import annotations

import pytest

from faith.daemon.config import proxied_decision
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.settings import Settings
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.translation.address import IPV4_MAPPED, number
from faith.translation.prefix import Prefix
from faith.translation.reasons import DENIED, NO_RULE, OWN, SOURCE_MAPPED, SPECIAL

CLIENT = "2001:db8:6::2"
SETTINGS = Settings((), user="65534", proxies=(ProxySettings("::", 1080),))


def inputs(*rules: str) -> PolicyInputs:
    return PolicyInputs(
        Rules("\n".join(rules), "/etc/faithd.conf"),
        (Prefix.parse("2001:db8:ffff::/96"),),
        ((number("192.0.2.1"), 32),),
        own6=((number("2001:db8:6::1"), 128),),
        connected=((number("2001:db8:6::"), 64), (IPV4_MAPPED | number("192.0.2.0"), 120)),
    )


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("192.0.2.80", "192.0.2.80"),
        ("::ffff:192.0.2.80", "192.0.2.80"),
        ("2001:db8:ffff::c000:250", "192.0.2.80"),
        ("2001:db8:99::1", "2001:db8:99::1"),
    ],
)
def test_an_address_is_judged_as_what_it_is(address: str, server: str) -> None:
    (found,) = proxied_decision.decide_each(inputs(), SETTINGS, CLIENT, [address], 80)
    assert (found.mapped, found.refused, found.server) == (address, None, server)
    assert (found.server_port, found.user, found.source_from) == (80, "65534", "kernel")


@pytest.mark.parametrize(
    ("client", "address", "refused", "line"),
    [
        (CLIENT, "192.0.2.9", DENIED, 1),
        (CLIENT, "127.0.0.1", SPECIAL, 3),
        (CLIENT, "192.0.2.1", OWN, 3),
        (CLIENT, "2001:db8:6::1", OWN, 2),
        (CLIENT, "fe80::1", SPECIAL, 2),
        ("192.0.2.7", "2001:db8:99::1", NO_RULE, 0),
        ("2001:db8:ffff::1", "192.0.2.80", SOURCE_MAPPED, 0),
    ],
)
def test_the_rule_that_decides(client: str, address: str, refused: str, line: int) -> None:
    rules = inputs(
        "::/0 deny 192.0.2.9", "2001:db8::/32 permit ::/0", "2001:db8::/32 permit 0.0.0.0/0"
    )
    (found,) = proxied_decision.decide_each(rules, SETTINGS, client, [address], 80)
    assert found.refused == refused
    assert (found.rule.line if found.rule else 0) == line


def test_rules_that_are_never_reached_of_either_family() -> None:
    rules = inputs(
        "::/0 deny 2001:db8:99::/48",
        "::/0 deny 0.0.0.0/0",
        "::/0 permit 2001:db8:99::1/128",
        "::/0 permit 192.0.2.80",
    )
    addresses = ["2001:db8:99::1", "192.0.2.80"]
    found = proxied_decision.decide_each(rules, SETTINGS, CLIENT, addresses, 80)
    assert [[one.line for one in each.later_permits] for each in found] == [[3], [4]]


def test_a_rule_has_a_source_address() -> None:
    rules = inputs("::/0 permit 192.0.2.80 192.0.2.1", "::/0 permit 0.0.0.0/0 192.0.2.99")
    addresses = ["192.0.2.80", "192.0.2.81"]
    found = proxied_decision.decide_each(rules, SETTINGS, CLIENT, addresses, 80)
    told = [(one.source, one.source_from, one.source_absent) for one in found]
    assert told == [("192.0.2.1", "rule", False), ("192.0.2.99", "rule", True)]


def test_for_whom_the_proxies_are() -> None:
    named = ProxySettings("192.0.2.1", 3128, ((IPV4_MAPPED | number("192.0.2.0"), 120),))
    settings = Settings((), proxies=(ProxySettings("::", 1080), named))

    def served(client: str) -> list[bool]:
        return [one.serves for one in proxied_decision.proxies_for(inputs(), settings, client)]

    assert served(CLIENT) == [True, False]
    assert served("192.0.2.7") == [True, True]
    assert served("2001:db8:7::2") == [False, False]
    links, networks = proxied_decision.proxies_for(inputs(), settings, CLIENT)
    assert (links.by_links, links.clients) == (True, ["2001:db8:6::/64", "192.0.2.0/24"])
    assert (networks.by_links, networks.clients) == (False, ["192.0.2.0/24"])
    assert links.methods == ["socks5", "socks4", "connect", "http"]
    assert (links.connect_ports, links.users, links.tls, links.expires) == ("443", 0, False, None)
