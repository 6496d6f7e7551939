"""Hosts and ports that clients ask for: names, addresses and what is neither."""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.proxy.asked_target import LONGEST, BadTarget, endpoint, packed_endpoint, target
from faith.proxy.proxy_events import Target


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"example.org", "example.org"),
        (b"WWW.Example.ORG.", "www.example.org"),
        (b"xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        (b"my_host", "my_host"),
        (b"1a.2b", "1a.2b"),
        (b"0xg", "0xg"),
        (b"r3---sn-4g5e6nzs.example", "r3---sn-4g5e6nzs.example"),
        (b"a" * 63 + b".example", "a" * 63 + ".example"),
    ],
)
def test_names(host: bytes, name: str) -> None:
    assert target(host, 80) == Target(name, 80, False)


def test_an_a_label_needs_no_module_that_is_not_loaded() -> None:
    """As in a process whose user cannot read where Python is, a home of root's for instance."""
    program = (
        "import sys\n"
        "from faith.proxy.asked_target import target\n"
        "sys.meta_path.clear()\n"
        "print(target(b'xn--mnchen-3ya.example', 80).host)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("xn--mnchen-3ya.example\n", "")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"2001:DB8::0001", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_addresses(host: bytes, address: str) -> None:
    assert target(host, 80) == Target(address, 80, True)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b".",
        b"a..b",
        b".a",
        b"a b",
        b"a\0b",
        b"a\r\nb",
        b"a\n",
        b"a/b",
        b"a@b",
        b"a%00b",
        b"-a.example",
        b"a-.example",
        b"a" * 64,
        b"a." * 126 + b"aa",
        b"xn--",
        b"xn--a.example",
        b"xn--99999999999999999999.example",
        b"\xc3\xa4.example",
        b"127.1",
        b"127.0.0.1.",
        b"0177.0.0.1",
        b"256.0.0.1",
        b"2130706433",
        b"0x7f000001",
        b"0x",
        b"example.0",
        b"fe80::1%eth0",
        b"[192.0.2.1]",
        b"[example.org]",
        b"[::1",
        b"::1]",
        b"[[::1]]",
        b"1::2::3",
        b":",
        b"example.org:80",
    ],
)
def test_what_is_neither(host: bytes) -> None:
    with pytest.raises(BadTarget):
        target(host, 80)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_no_port(port: int) -> None:
    with pytest.raises(BadTarget, match=str(port)):
        target(b"example.org", port)


def test_every_port_but_none() -> None:
    assert [target(b"example.org", port).port for port in (1, 65535)] == [1, 65535]


def test_an_endpoint_may_be_without_a_port() -> None:
    assert endpoint(b"0.0.0.0", 0) == Target("0.0.0.0", 0, True)
    assert packed_endpoint(bytes(16), 0) == Target("::", 0, True)


def test_the_longest_name() -> None:
    longest = b"a." * 126 + b"a"
    assert len(longest) == LONGEST
    assert target(longest, 80).host == longest.decode()


@given(st.one_of(st.binary(max_size=300), st.from_regex(rb"[\[0-9a-fx.:%\]-]{0,40}")))
def test_any_octets_are_a_host_in_its_one_form_or_refused(host: bytes) -> None:
    with contextlib.suppress(BadTarget):
        found = target(host, 80)
        assert target(found.host.encode("ascii"), 80) == found
        assert not set(found.host) - set("abcdefghijklmnopqrstuvwxyz0123456789-_.:")
        with contextlib.suppress(ValueError):
            assert str(ipaddress.ip_address(found.host)) or found.is_address
            assert found.is_address
