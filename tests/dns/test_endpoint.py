"""Addresses of servers as operators write them."""

from __future__ import annotations

import pytest

from faith.dns.endpoint import Endpoint, in_resolv_conf, parse, parse_server
from faith.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.0.2.53", Endpoint("192.0.2.53", 53)),
        ("192.0.2.53:5353", Endpoint("192.0.2.53", 5353)),
        ("2001:db8::53", Endpoint("2001:db8::53", 53)),
        ("[2001:db8::53]", Endpoint("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Endpoint("2001:db8::53", 5353)),
        ("fe80::1%eth0", Endpoint("fe80::1%eth0", 53)),
    ],
)
def test_addresses_and_ports(text: str, endpoint: Endpoint) -> None:
    assert parse(text) == endpoint
    assert parse_server(text) == endpoint
    assert parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tls://192.0.2.53#dns.example", Endpoint("192.0.2.53", 853, "dns.example")),
        ("tls://[2001:db8::53]:8853#dns.example", Endpoint("2001:db8::53", 8853, "dns.example")),
    ],
)
def test_servers_with_tls(text: str, endpoint: Endpoint) -> None:
    assert parse_server(text) == endpoint
    assert parse_server(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:domain",
        "[2001:db8::53",
        "[2001:db8::53]53",
        "192.0.2.256",
        "224.0.0.1",
        "[ff02::1]:53",
        "255.255.255.255",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    for read in (parse, parse_server):
        with pytest.raises(ConfigError):
            read(text)


@pytest.mark.parametrize("text", ["tls://192.0.2.53", "tls://192.0.2.53#"])
def test_rfc8310_8_1_tls_without_a_name_would_trust_anybody(text: str) -> None:
    with pytest.raises(ConfigError, match="tls://ADDRESS#NAME"):
        parse_server(text)


def test_resolv_conf() -> None:
    text = """# nameserver 192.0.2.1
    search example.com
nameserver 192.0.2.2
nameserver\t2001:db8::1
nameserver fe80::1%eth0
nameserver
nameserver nonsense
; nameserver 192.0.2.3
options edns0
"""
    hosts = [endpoint.host for endpoint in in_resolv_conf(text)]
    assert hosts == ["192.0.2.2", "2001:db8::1", "fe80::1%eth0"]
