"""SOCKS5, message by message (RFC 1928, RFC 1929)."""

from __future__ import annotations

import pytest

from faith.proxy.proxy_events import (
    SOCKS5,
    Associate,
    Bind,
    CheckUser,
    Dial,
    HangUp,
    Refused,
    Target,
    ToClient,
    Tunnel,
)
from faith.proxy.proxy_rules import ProxyRules
from faith.proxy.socks5 import Socks5
from faith.translation import reasons
from tests.proxy import socks_octets as socks

SERVER = Target("192.0.2.80", 80, True)
ADDRESS = b"\x01\xc0\x00\x02\x50"
SOURCE = ("192.0.2.1", 40000)
BOUND = b"\x01\xc0\x00\x02\x01\x9c\x40"


def asked(request: bytes, rules: ProxyRules | None = None) -> Socks5:
    """A client whose method is agreed on, and who has sent *request*."""
    machine = Socks5(rules or ProxyRules())
    machine.from_client(socks.methods(0))
    machine.from_client(request)
    return machine


def test_a_connection_by_address() -> None:
    machine = Socks5(ProxyRules())
    assert machine.from_client(socks.methods(0)) == [ToClient(socks.ANYONE)]
    assert machine.wants_client
    assert machine.from_client(socks.request(1, ADDRESS, 80)) == [Dial(SERVER, SOCKS5)]
    assert not machine.wants_client
    assert machine.connected(SOURCE) == [ToClient(socks.reply(0, BOUND)), Tunnel()]


def test_a_connection_by_name_and_all_at_once() -> None:
    machine = Socks5(ProxyRules())
    octets = socks.methods(0, 1) + socks.request(1, socks.name(b"WWW.Example.ORG."), 443) + b"early"
    assert machine.from_client(octets) == [
        ToClient(socks.ANYONE),
        Dial(Target("www.example.org", 443, False), SOCKS5),
    ]
    bound = b"\x04" + bytes.fromhex("20010db8000000000000000000000001") + b"\x9c\x40"
    assert machine.connected(("2001:db8::1", 40000)) == [
        ToClient(socks.reply(0, bound)),
        Tunnel(b"early"),
    ]


@pytest.mark.parametrize("name", [b"192.0.2.80", b"::ffff:c000:250", b"[::ffff:192.0.2.80]"])
def test_the_text_of_an_address_is_an_address(name: bytes) -> None:
    machine = Socks5(ProxyRules())
    machine.from_client(socks.methods(0))
    [event] = machine.from_client(socks.request(1, socks.name(name), 80))
    assert isinstance(event, Dial)
    assert event.target.is_address
    assert event.target.host in ("192.0.2.80", "::ffff:192.0.2.80")


def test_a_user_and_the_password() -> None:
    machine = Socks5(ProxyRules(needs_user=True))
    assert machine.from_client(socks.methods(0, 2)) == [ToClient(socks.BY_PASSWORD)]
    assert machine.from_client(socks.password(b"me", b"secret")) == [CheckUser("me", b"secret")]
    assert not machine.wants_client
    assert machine.user_checked(True) == [ToClient(b"\x01\x00")]
    assert machine.from_client(socks.request(1, ADDRESS, 80)) == [Dial(SERVER, SOCKS5)]


@pytest.mark.parametrize("good", [False, None])
def test_a_wrong_password(good: bool | None) -> None:
    machine = Socks5(ProxyRules(needs_user=True))
    machine.from_client(socks.methods(2) + socks.password(b"me", b"wrong"))
    assert machine.user_checked(good) == [
        ToClient(b"\x01\x01"),
        Refused(None, reasons.WRONG_PASSWORD, SOCKS5),
        HangUp(reasons.WRONG_PASSWORD),
    ]
    assert machine.from_client(socks.request(1, ADDRESS, 80)) == []


def test_a_password_does_not_stand_in_a_dump() -> None:
    assert "secret" not in repr(CheckUser("me", b"secret"))


def test_a_client_that_offers_a_password_only_is_welcome_where_none_is_needed() -> None:
    machine = Socks5(ProxyRules())
    assert machine.from_client(socks.methods(2)) == [ToClient(socks.BY_PASSWORD)]
    assert machine.from_client(socks.password(b"", b"")) == [ToClient(b"\x01\x00")]
    assert machine.from_client(socks.request(1, ADDRESS, 80)) == [Dial(SERVER, SOCKS5)]


@pytest.mark.parametrize(
    ("rules", "offered"),
    [
        (ProxyRules(needs_user=True), [0, 1]),
        (ProxyRules(), [1]),
        (ProxyRules(), []),
        (ProxyRules(methods=frozenset()), [0, 2]),
    ],
)
def test_no_method_is_agreed_on(rules: ProxyRules, offered: list[int]) -> None:
    assert Socks5(rules).from_client(socks.methods(*offered)) == [
        ToClient(socks.NO_METHODS),
        Refused(None, reasons.NO_METHOD, SOCKS5),
        HangUp(reasons.NO_METHOD),
    ]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (socks.request(9, ADDRESS, 80), 7),
        (socks.request(1, b"\x02\x00", 80), 8),
        (socks.request(1, socks.name(b"a b"), 80), 1),
        (socks.request(1, socks.name(b""), 80), 1),
        (socks.request(1, socks.name(b"\xc3\xa4.example"), 80), 1),
        (socks.request(1, socks.name(b"127.1"), 80), 1),
        (socks.request(1, ADDRESS, 0), 1),
        (b"\x04\x01", 1),
    ],
)
def test_a_bad_request(request_: bytes, field: int) -> None:
    machine = Socks5(ProxyRules())
    machine.from_client(socks.methods(0))
    reply, refused, hang_up = machine.from_client(request_)
    assert reply == ToClient(socks.reply(field))
    assert isinstance(refused, Refused)
    assert refused.why == reasons.BAD_REQUEST
    assert hang_up == HangUp(reasons.BAD_REQUEST)
    assert not machine.wants_client


@pytest.mark.parametrize("command", [2, 3])
def test_a_command_that_the_rules_do_not_permit(command: int) -> None:
    machine = Socks5(ProxyRules(bind=False, associate=False))
    machine.from_client(socks.methods(0))
    assert machine.from_client(socks.request(command, ADDRESS, 80)) == [
        ToClient(socks.reply(7)),
        Refused(SERVER, reasons.NO_METHOD, SOCKS5),
        HangUp(reasons.NO_METHOD),
    ]


@pytest.mark.parametrize(
    ("why", "field"),
    [
        (reasons.DENIED, 2),
        (reasons.UNREACHABLE, 4),
        (f"{reasons.UNREACHABLE}: Network is unreachable", 3),
        (reasons.REFUSED, 5),
        (reasons.TIMEOUT, 6),
        (reasons.TOTAL, 1),
    ],
)
def test_a_server_that_is_not_reached(why: str, field: int) -> None:
    machine = asked(socks.request(1, ADDRESS, 80))
    assert machine.failed(why) == [ToClient(socks.reply(field)), HangUp(why)]


def test_a_server_is_dialled_for_a_client_that_has_ended() -> None:
    machine = asked(socks.request(1, ADDRESS, 80) + b"all of it")
    assert machine.client_ended() == []
    assert machine.connected(SOURCE)[-1] == Tunnel(b"all of it")


@pytest.mark.parametrize("octets", [b"", b"\x05", socks.methods(0), socks.methods(0) + b"\x05\x01"])
def test_a_client_that_ends_before_its_request(octets: bytes) -> None:
    machine = Socks5(ProxyRules())
    machine.from_client(octets)
    assert machine.client_ended() == [HangUp(reasons.CLOSED)]
    assert machine.client_ended() == []


def test_bind() -> None:
    machine = Socks5(ProxyRules())
    machine.from_client(socks.methods(0))
    assert machine.from_client(socks.request(2, ADDRESS, 80)) == [Bind(SERVER, SOCKS5)]
    assert machine.connected(SOURCE) == [ToClient(socks.reply(0, BOUND))]
    peer = ADDRESS + b"\x00\x14"
    assert machine.accepted(("192.0.2.80", 20)) == [ToClient(socks.reply(0, peer)), Tunnel()]


def test_a_bind_that_another_process_goes_on_with() -> None:
    machine = Socks5(ProxyRules())
    machine.restore(asked(socks.request(2, ADDRESS, 80)).state())
    assert machine.connected(SOURCE) == [ToClient(socks.reply(0, BOUND))]


def test_bind_to_which_nobody_comes() -> None:
    machine = asked(socks.request(2, ADDRESS, 80))
    machine.connected(SOURCE)
    assert machine.failed(reasons.TIMEOUT) == [
        ToClient(socks.reply(6)),
        HangUp(reasons.TIMEOUT),
    ]


def test_associate_lives_as_long_as_the_client() -> None:
    machine = Socks5(ProxyRules())
    machine.from_client(socks.methods(0))
    unknown = Target("0.0.0.0", 0, True)
    assert machine.from_client(socks.request(3, socks.NOWHERE[:5], 0)) == [Associate(unknown)]
    assert machine.connected(SOURCE) == [ToClient(socks.reply(0, BOUND))]
    assert machine.wants_client
    assert machine.from_client(b"anything" * 1000) == []
    assert len(machine.buffer) == 0
    assert machine.client_ended() == [HangUp(reasons.CLOSED)]


def test_an_address_bound_that_is_ipv4_mapped_is_ipv4() -> None:
    machine = asked(socks.request(1, ADDRESS, 80))
    assert machine.connected(("::ffff:192.0.2.1", 40000))[0] == ToClient(socks.reply(0, BOUND))


@pytest.mark.parametrize("name", [b"0", b"", b"no name", b"xn--"])
def test_where_datagrams_come_from_may_be_any_text(name: bytes) -> None:
    octets = b"\5\3\0\3" + bytes((len(name),)) + name + b"\x9c\x40"
    machine = Socks5(ProxyRules())
    machine.from_client(socks.methods(0))
    for end in range(len(octets)):
        assert machine.from_client(octets[end : end + 1]) == [] or end == len(octets) - 1
    assert machine.connected(("192.0.2.1", 40000)) == [ToClient(b"\5\0\0" + BOUND)]
    machine = asked(b"\5\1" + octets[2:])
    assert machine.from_client(b"") == [], "a server has to be one"
    machine = Socks5(ProxyRules())
    machine.from_client(socks.methods(0))
    assert machine.from_client(octets) == [Associate(Target("0.0.0.0", 0, True))]
