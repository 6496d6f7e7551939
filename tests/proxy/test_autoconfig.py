"""proxy.pac, in an engine of JavaScript."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faith.proxy.autoconfig import autoconfig
from faith.proxy.proxy_rules import ProxyRules
from faith.translation.address import IPV4_MAPPED
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable

    Ask = Callable[[str, list[str]], list[str]]

RUN = """
const vm = require("vm");
const {text, urls} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const context = vm.createContext({});
vm.runInContext("'use strict';" + text, context);
const answers = urls.map(([url, host]) => context.FindProxyForURL(url, host));
process.stdout.write(JSON.stringify(answers));
"""
RULES = ProxyRules(connect_ports=Ports([(443, 443), (8000, 8100)]))
DIRECT = [
    (0x20010DB8 << 96, 32),
    (IPV4_MAPPED | 0xC0000200, 120),
    (IPV4_MAPPED | 0x0A000000, 105),
    (0xFD << 120, 8),
]
TEXT = autoconfig("gate.example", 1080, RULES, DIRECT)
BOTH = "PROXY gate.example:1080; SOCKS5 gate.example:1080"
SOCKS = "SOCKS5 gate.example:1080"


@pytest.fixture(scope="module")
def ask(need: Callable[[str], str]) -> Ask:
    """``ask(text, urls)`` is what a file of that *text* answers for *urls*."""
    node = need("node")

    def answers(text: str, urls: list[str]) -> list[str]:
        asked = [(url, url.split("//")[1].split("/")[0].rpartition("@")[2]) for url in urls]
        hosts = [(url, host if "]" in host else host.partition(":")[0]) for url, host in asked]
        hosts = [
            (url, host.partition("]")[0] + "]" if "]" in host else host) for url, host in hosts
        ]
        said = subprocess.run(
            [node, "-e", RUN],
            input=json.dumps({"text": text, "urls": hosts}),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        found: list[str] = json.loads(said.stdout)
        return found

    return answers


EXPECTED = {
    "http://example.org/": BOTH,
    "http://Example.ORG./x": BOTH,
    "http://example.org:8080/": BOTH,
    "http://example.org:443/": BOTH,
    "http://example.org:25/": SOCKS,
    "https://example.org/": BOTH,
    "https://example.org:8043/": BOTH,
    "https://example.org:8443/": SOCKS,
    "wss://example.org/chat": BOTH,
    "ws://example.org/chat": SOCKS,
    "ws://example.org:8000/chat": BOTH,
    "ftp://example.org/": SOCKS,
    "http://192.168.1.1/": BOTH,
    "http://198.51.100.1/": BOTH,
    "http://[2001:db9::1]/": BOTH,
    "http://256.0.0.1/": BOTH,
    "http://127.example/": BOTH,
    "http://[fec0::1]:8080/": BOTH,
    # directly
    "http://intranet/": "DIRECT",
    "http://localhost/": "DIRECT",
    "http://a.localhost/": "DIRECT",
    "http://printer.local/": "DIRECT",
    "http://127.1.2.3/": "DIRECT",
    "http://169.254.1.1/": "DIRECT",
    "http://[::1]/": "DIRECT",
    "http://[fe80::1]/": "DIRECT",
    "http://[febf:1::]/": "DIRECT",
    "http://192.0.2.255/": "DIRECT",
    "http://10.127.255.255/": "DIRECT",
    "http://10.128.0.0/": BOTH,
    "http://[::ffff:192.0.2.1]/": "DIRECT",
    "http://[::ffff:c000:201]/": "DIRECT",
    "http://[2001:DB8:0:0:0:0:0:1]/": "DIRECT",
    "http://[2001:db8::192.0.2.1]/": "DIRECT",
    "https://[fd12::]:8443/": "DIRECT",
}


def test_where_to_connect_by_the_proxy_and_where_directly(ask: Ask) -> None:
    assert dict(zip(EXPECTED, ask(TEXT, [*EXPECTED]), strict=True)) == EXPECTED


@pytest.mark.parametrize(
    ("methods", "needs_user", "expected"),
    [
        ({"http", "connect", "socks5"}, True, ["PROXY [2001:db8::1]:8080"] * 2),
        ({"http"}, False, ["PROXY [2001:db8::1]:8080", "DIRECT"]),
        ({"connect"}, False, ["DIRECT", "PROXY [2001:db8::1]:8080"]),
        ({"socks5"}, False, ["SOCKS5 [2001:db8::1]:8080"] * 2),
        ({"socks5"}, True, ["DIRECT"] * 2),
        ({"socks4"}, False, ["DIRECT"] * 2),
    ],
)
def test_the_methods_of_the_proxy(
    ask: Ask, methods: set[str], needs_user: bool, expected: list[str]
) -> None:
    rules = ProxyRules(methods=frozenset(methods), needs_user=needs_user)
    text = autoconfig("2001:db8::1", 8080, rules)
    assert ask(text, ["http://example.org/", "https://example.org/"]) == expected


@given(
    st.lists(st.tuples(st.ip_addresses(v=6), st.integers(0, 128)), max_size=4),
    st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), min_size=40, max_size=40),
    st.integers(0, 127),
)
@settings(max_examples=15, deadline=None)
def test_networks_are_the_same_in_both_languages(
    ask: Ask,
    networks: list[tuple[ipaddress.IPv6Address, int]],
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
    bit: int,
) -> None:
    direct = [
        (int(start) >> (128 - length) << (128 - length), length) for start, length in networks
    ]
    near = [ipaddress.IPv6Address(start ^ (1 << bit)) for start, _ in direct]
    hosts = [*addresses, *near]
    urls = [f"http://[{host}]/" if host.version == 6 else f"http://{host}/" for host in hosts]
    said = ask(autoconfig("gate.example", 1080, RULES, direct), urls)
    local = ["127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"]
    for host, answer in zip(hosts, said, strict=True):
        number = int(host) | (IPV4_MAPPED if host.version == 4 else 0)
        inside = any(
            number >> (128 - length) == start >> (128 - length) for start, length in direct
        )
        mapped = getattr(host, "ipv4_mapped", None) or host
        inside = inside or any(mapped in ipaddress.ip_network(network) for network in local)
        assert (answer == "DIRECT") == inside, host


def test_the_text_is_ascii_and_says_which_networks_it_has() -> None:
    assert TEXT.isascii()
    for network in ("2001:db8::/32", "192.0.2.0/24", "10.0.0.0/9", "fd00::/8", "::1\n"):
        assert f"// {network}" in TEXT
