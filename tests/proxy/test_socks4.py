"""SOCKS4 and SOCKS4A."""

from __future__ import annotations

import pytest

from faith.proxy.proxy_events import SOCKS4, Bind, Dial, HangUp, Refused, Target, ToClient, Tunnel
from faith.proxy.proxy_rules import ProxyRules
from faith.proxy.socks4 import Socks4
from faith.translation import reasons
from tests.proxy import socks_octets as socks

SERVER = Target("192.0.2.80", 80, True)
ADDRESS = b"\xc0\x00\x02\x50"


def test_a_connection_by_address() -> None:
    machine = Socks4(ProxyRules())
    octets = socks.request4(1, ADDRESS, 80, b"me") + b"early"
    assert machine.from_client(octets) == [Dial(SERVER, SOCKS4)]
    granted = socks.reply4(90, 40000, b"\xc0\x00\x02\x01")
    assert machine.connected(("192.0.2.1", 40000)) == [ToClient(granted), Tunnel(b"early")]


def test_a_connection_by_name() -> None:
    machine = Socks4(ProxyRules())
    octets = socks.request4(1, b"\0\0\0\x07", 80) + b"Example.org\0"
    assert machine.from_client(octets) == [Dial(Target("example.org", 80, False), SOCKS4)]
    assert machine.connected(("2001:db8::1", 40000))[0] == ToClient(socks.reply4(90, 40000))


def test_no_name_follows_an_address_of_nowhere() -> None:
    machine = Socks4(ProxyRules())
    [event] = machine.from_client(socks.request4(1, bytes(4), 80))
    assert event == Dial(Target("0.0.0.0", 80, True), SOCKS4)


def test_bind() -> None:
    machine = Socks4(ProxyRules())
    assert machine.from_client(socks.request4(2, ADDRESS, 80)) == [Bind(SERVER, SOCKS4)]
    assert machine.connected(("192.0.2.1", 9)) == [
        ToClient(socks.reply4(90, 9, b"\xc0\x00\x02\x01"))
    ]
    assert machine.accepted(("192.0.2.80", 20)) == [
        ToClient(socks.reply4(90, 20, ADDRESS)),
        Tunnel(),
    ]


@pytest.mark.parametrize(
    ("octets", "rules", "code", "why"),
    [
        (socks.request4(1, ADDRESS, 80), ProxyRules(needs_user=True), 93, reasons.NO_METHOD),
        (
            socks.request4(1, ADDRESS, 80),
            ProxyRules(methods=frozenset({"socks5"})),
            91,
            reasons.NO_METHOD,
        ),
        (socks.request4(2, ADDRESS, 80), ProxyRules(bind=False), 91, reasons.NO_METHOD),
        (socks.request4(3, ADDRESS, 80), ProxyRules(), 91, reasons.BAD_REQUEST),
        (socks.request4(1, ADDRESS, 0), ProxyRules(), 91, reasons.BAD_REQUEST),
        (b"\x04\x01\0\x50\0\0\0\x01\0a b\0", ProxyRules(), 91, reasons.BAD_REQUEST),
        (b"\x04\x01\0\x50\xc0\0\x02\x01" + b"u" * 256, ProxyRules(), 91, reasons.BAD_REQUEST),
        (b"\x04\x01\0\x50\0\0\0\x01\0" + b"n" * 256, ProxyRules(), 91, reasons.BAD_REQUEST),
    ],
)
def test_a_request_is_refused(octets: bytes, rules: ProxyRules, code: int, why: str) -> None:
    reply, refused, hang_up = Socks4(rules).from_client(octets)
    assert reply == ToClient(socks.reply4(code))
    assert isinstance(refused, Refused)
    assert refused.why == why
    assert hang_up == HangUp(why)


def test_a_name_of_the_greatest_length_is_read() -> None:
    name = b"a." * 126 + b"a"
    [event] = Socks4(ProxyRules()).from_client(socks.request4(1, b"\0\0\0\x01", 80) + name + b"\0")
    assert event == Dial(Target(name.decode(), 80, False), SOCKS4)


def test_a_user_of_the_greatest_length_is_read() -> None:
    machine = Socks4(ProxyRules())
    assert machine.from_client(socks.request4(1, ADDRESS, 80, b"u" * 255)) == [Dial(SERVER, SOCKS4)]


def test_a_server_that_is_not_reached() -> None:
    machine = Socks4(ProxyRules())
    machine.from_client(socks.request4(1, ADDRESS, 80))
    assert machine.failed(reasons.REFUSED) == [
        ToClient(socks.reply4(91)),
        HangUp(reasons.REFUSED),
    ]


def test_nobody_checks_a_user() -> None:
    with pytest.raises(RuntimeError):
        Socks4(ProxyRules()).user_checked(True)
