"""[[source]] of faith.toml: what it means, and every mistake told with its place."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from faith.cli import check
from faith.daemon.config import config
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.errors import ConfigError
from faith.kernel.netlink import routes
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.map import PROTOCOLS, Map
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes

if TYPE_CHECKING:
    from faith.translation.sources import Sources

SERVICE = '[[service]]\nports = "80"\n'
PREFIX = Prefix.parse("2001:db8:ffff::/96")
SERVER = int(IPv4Address("198.18.0.80"))


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host has 198.51.100.0/24 but for its last address."""
    own = [(int(IPv4Address("198.51.100.0")), 25), (int(IPv4Address("198.51.100.128")), 26)]
    own += [(int(IPv4Address(f"198.51.100.{last}")), 32) for last in range(192, 255)]
    monkeypatch.setattr(routes, "local_ipv4", lambda: own)


def v4(text: str) -> int:
    return int(IPv4Address(text))


def read(text: str) -> Sources:
    return config.read(SERVICE + text, "faith.toml").sources


def found(sources: Sources, client: str) -> str | None:
    address = sources.find(int(IPv6Address(client)))
    return None if address is None else str(IPv4Address(address))


def test_without_any_it_is_the_kernels_choice() -> None:
    assert found(read(""), "2001:db8::1") is None


def test_clients_are_everybody_unless_said() -> None:
    assert found(read('[[source]]\naddresses = ["198.51.100.9"]'), "2001:db8::1") == "198.51.100.9"


ONE_TO_ONE = """
[[source]]
addresses = ["198.51.100.255"]
[[source]]
clients = ["2001:db8:6::/60", "2001:db8:7::/64"]
client_length = 64
addresses = ["198.51.100.16/28", "198.51.100.3"]
one_to_one = true
""".replace(".255", ".254")


def test_every_key_arrives() -> None:
    sources = read(ONE_TO_ONE)
    assert found(sources, "2001:db8:6:3::7") == "198.51.100.19"
    assert found(sources, "2001:db8:7::7") == "198.51.100.3"
    assert found(sources, "2001:db8:8::7") == "198.51.100.254"


RANGE = "addresses = ['198.51.100.3-198.51.100.9']"
ONE_CLIENT = "[[source]]\nclients = ['1::1']\none_to_one = true"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("clients = ['::/0']", 3, "source: addresses is missing"),
        ("addresses = '198.51.100.1'", 4, "source.addresses: .* is not a list in brackets"),
        ("addresses = []", 3, "name at least one address"),
        (
            "addresses = [\n'198.51.100.1',\n'x']",
            6,
            "source.addresses: 'x' is not an IPv4 address",
        ),
        ("addresses = ['198.51.100.1']\nclients = ['::/0',\n'::1/64']", 6, "did you mean ::/64"),
        ("addresses = ['198.51.100.1']\nclient_length = 0", 5, "0 is not a number from 1 to 128"),
        ("addresses = ['198.51.100.1']\nclients = ['::1']\nclient_length = 64", 6, "less than a"),
        ("addresses = ['198.51.100.1']\none_to_one = true", 5, r"2\^128 clients of 128 bits"),
        (
            "addresses = ['198.51.100.1']\nclients = ['1::/16', '1::/16']",
            5,
            "a source on line 5 already",
        ),
        (
            "addresses = ['198.51.100.1']\n[[source]]\naddresses = ['198.51.100.2']",
            5,
            "a source on line 3 already",
        ),
        (
            f"addresses = ['198.51.100.0/28']\n{ONE_CLIENT}\naddresses = ['198.51.100.7']",
            8,
            "198.51.100.7 is in the source on line 4 too, and cannot be one client's",
        ),
        (
            f"{RANGE}\n{ONE_CLIENT}\naddresses = ['198.51.100.3']",
            8,
            "198.51.100.3 is in the source on line 4 too",
        ),
        (
            f"{RANGE}\n{ONE_CLIENT}\naddresses = ['198.51.100.9']",
            8,
            "198.51.100.9 is in the source on line 4 too",
        ),
        (
            f"addresses = ['198.51.100.0/28']\n{ONE_CLIENT}\nadresses = []",
            8,
            "is addresses meant",
        ),
    ],
)
def test_a_mistake_is_told(text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        read(f"[[source]]\n{text}")
    assert (told.value.file, told.value.line) == ("faith.toml", line)


def test_addresses_that_are_set_up_need_not_be_there() -> None:
    sources = read('[[source]]\naddresses = ["203.0.113.7-203.0.113.9"]\nset_up = true')
    assert found(sources, "2001:db8::1") in {f"203.0.113.{last}" for last in (7, 8, 9)}
    maps = Maps([Map((v4("203.0.113.10"), 31), (int(IPv6Address("2001:db8:a::")), 127))])
    parts = PolicyInputs(Rules("", "none"), (), (), maps, sources)
    assert parts.networks == ((v4("203.0.113.7"), 32), (v4("203.0.113.8"), 30))
    assert PolicyInputs(Rules("", "none"), (), (), maps).networks is maps.networks


def test_sources_may_share_addresses_that_are_shared_anyway() -> None:
    read(
        "[[source]]\naddresses = ['198.51.100.0/28']\n"
        "[[source]]\nclients = ['1::/16']\naddresses = ['198.51.100.0/28']"
    )


def test_a_rules_own_source_goes_first() -> None:
    rules = "2001:db8:6::/48 permit 0.0.0.0/0 198.51.100.77\n::/0 permit 0.0.0.0/0"
    sources = read('[[source]]\naddresses = ["198.51.100.9"]')
    policy = Policy(Prefixes([PREFIX]), Networks(32), Access.parse(rules), sources=sources)

    def source(client: str) -> str:
        verdict = policy.admit(int(IPv6Address(client)), SERVER, PREFIX)
        assert verdict.source4 is not None
        return str(IPv4Address(verdict.source4))

    assert source("2001:db8:6::1") == "198.51.100.77"
    assert source("2001:db8:7::1") == "198.51.100.9"


def test_a_map_goes_before_sources() -> None:
    sources = read('[[source]]\naddresses = ["198.51.100.9"]')
    maps = Maps([Map((v4("203.0.113.10"), 32), (int(IPv6Address("2001:db8:a::2")), 128))])
    rules = Access.parse("2001:db8:a::/48 permit 8.0.0.0/8 198.51.100.77\n::/0 permit 0.0.0.0/0")
    policy = Policy(Prefixes([PREFIX]), Networks(32), rules, maps, sources)

    def source(client: str, server: int, protocol: str) -> str:
        verdict = policy.admit(int(IPv6Address(client)), server, PREFIX, protocol)
        assert verdict.source4 is not None
        return str(IPv4Address(verdict.source4))

    for protocol in PROTOCOLS:
        assert source("2001:db8:a::2", SERVER, protocol) == "203.0.113.10"
        assert source("2001:db8:a::2", v4("8.8.8.8"), protocol) == "198.51.100.77"
        assert source("2001:db8:a::3", SERVER, protocol) == "198.51.100.9"


def test_they_arrive_in_the_workers() -> None:
    sources = read(ONE_TO_ONE)
    parts = PolicyInputs(Rules("", "none"), (PREFIX,), (), sources=sources)
    arrived = PolicyInputs.loads(parts.dumps())
    assert arrived == parts
    assert json.loads(parts.dumps())
    client = int(IPv6Address("2001:db8:6:3::7"))
    verdict = arrived.policy().admit(client, SERVER, PREFIX)
    assert verdict.source4 == int(IPv4Address("198.51.100.19"))


def test_check_shows_them() -> None:
    lines = list(check.lines(config.read(SERVICE + ONE_TO_ONE, "faith.toml")))
    assert "source   1 address, shared by ::/0" in lines
    assert "source   17 addresses, one for each client of 2001:db8:6::/60, 2001:db8:7::/64" in lines
