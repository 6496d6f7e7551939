"""Firewalls that drop all that comes, and others of which that cannot be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.kernel.nft import dropping_chains, guard
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Network

pytestmark = pytest.mark.netns

TABLE = """
table {family} host {{
    {flags}
    chain way {{
        type filter hook {hook} priority 0; policy {policy};
        {rules}
    }}
    chain other {{
        accept
    }}
}}
"""


@pytest.fixture
def found(network: Network, need: Callable[[str], str]) -> Callable[..., list[str]]:
    """The chains that drop all, once a host has this table."""
    host, nft = network.host("host"), need("nft")

    def with_table(
        rules: str = "",
        policy: str = "drop",
        hook: str = "input",
        family: str = "inet",
        flags: str = "",
    ) -> list[str]:
        text = TABLE.format(rules=rules, policy=policy, hook=hook, family=family, flags=flags)
        host.run([nft, "-f", "-"], stdin="flush ruleset\n" + text)
        return [str(one) for one in host.call(dropping_chains.found)]

    return with_table


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"hook": "prerouting", "family": "ip6"},
        {"rules": "counter log drop", "policy": "accept"},
        {"rules": "tcp dport 22 counter drop; reject", "policy": "accept"},
        {"rules": "ct state invalid drop; tcp dport { 80, 443 } reject with tcp reset"},
        {"rules": "meta iifname lo counter; limit rate 5/second log"},
    ],
)
def test_a_chain_that_drops_all_is_named(
    found: Callable[..., list[str]], table: dict[str, str]
) -> None:
    family, hook = table.get("family", "inet"), table.get("hook", "input")
    assert found(**table) == [f"chain {family} host way (hook {hook})"]


@pytest.mark.parametrize(
    "table",
    [
        {"policy": "accept"},
        {"rules": "tcp dport 80 accept"},
        {"rules": "ct state established,related accept"},
        {"rules": "jump other"},
        {"rules": "tcp dport vmap { 80 : accept, 22 : drop }"},
        {"rules": "tcp dport 22 drop", "policy": "accept"},
        {"rules": "limit rate over 5/second drop", "policy": "accept"},
        {"rules": "accept; drop", "policy": "accept"},
        {"hook": "forward"},
        {"hook": "output"},
        {"family": "ip"},
        {"flags": "flags dormant"},
    ],
)
def test_nothing_is_said_of_a_chain_that_may_let_some_through(
    found: Callable[..., list[str]], table: dict[str, str]
) -> None:
    assert found(**table) == []


def test_the_guard_is_none_of_them(network: Network) -> None:
    host = network.host("host")
    host.call(lambda: guard.install([Prefix.parse("2001:db8:ffff::/96")]))
    assert host.call(dropping_chains.found) == []
