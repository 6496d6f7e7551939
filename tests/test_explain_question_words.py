"""The words of a question."""

from __future__ import annotations

import pytest

from faith.cli.explain.explanation import Question
from faith.cli.explain.question_words import question
from faith.errors import ConfigError

V6, V4 = "2001:db8:6::2", "192.0.2.80"


@pytest.mark.parametrize(
    ("destination", "host", "port"),
    [
        (V4, V4, 80),
        (f"{V4}:23", V4, 23),
        (f"{V4}:telnet", V4, 23),
        ("www.example.org:443", "www.example.org", 443),
        ("2001:db8:ffff::c000:250", "2001:db8:ffff::c000:250", 80),
        ("[2001:db8:ffff::192.0.2.80]:22", "2001:db8:ffff::c000:250", 22),
        ("[2001:db8:ffff::1]", "2001:db8:ffff::1", 80),
    ],
)
def test_a_destination(destination: str, host: str, port: int) -> None:
    assert question(V6, destination) == Question(V6, host, port, "tcp")


def test_protocols() -> None:
    assert question(V6, f"{V4}:53", udp=True).protocol == "udp"
    assert question(V6, V4, ping=True) == Question(V6, V4, 0, "icmp")
    assert question("fe80::1%eth0", V4).client == "fe80::1"


@pytest.mark.parametrize(
    ("client", "destination", "options", "says"),
    [
        ("x", V4, {}, "not the address of a client"),
        (V6, "[2001:db8::1", {}, "write"),
        (V6, "[2001:db8::1]x", {}, "write"),
        (V6, "[x]:80", {}, "not an address"),
        (V6, "1:2:3", {}, "not an address"),
        (V6, ":80", {}, "name a host"),
        (V6, f"{V4}:0", {}, "not from 1"),
        (V6, f"{V4}:70000", {}, "not from 1"),
        (V6, f"{V4}:nosuchservice", {}, "no port"),
        (V6, f"{V4}:80", {"ping": True}, "no port"),
        (V6, V4, {"ping": True, "udp": True}, "exclude"),
        (V4, "2001:db8::1", {}, "IPv4 only"),
        ("::", V4, {}, "not the address of one host"),
        ("ff02::1", V4, {}, "not the address of one host"),
        (V6, "256.0.2.80", {}, "not an address"),
        (V6, "192.0.2", {}, "not an address"),
        (V6, "192.0.2.0/24", {}, "neither"),
        (V6, "a..b", {}, "neither"),
        (V6, f"{'a' * 64}.example", {}, "neither"),
        (V6, "a." * 128, {}, "neither"),
        (V6, "www example", {}, "neither"),
    ],
)
def test_no_question(client: str, destination: str, options: dict[str, bool], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        question(client, destination, **options)


def test_an_ipv4_mapped_address_is_one_of_ipv4() -> None:
    assert question(f"::ffff:{V4}", "192.0.2.102:22").client == V4
    assert question(V6, f"[::ffff:{V4}]:23") == Question(V6, V4, 23, "tcp")
