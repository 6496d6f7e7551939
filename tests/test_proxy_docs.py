"""docs/proxy.rst: what clients are told, its numbers, its configuration and its record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faith.daemon.config import config, proxy_table
from faith.proxy import http_head
from faith.proxy.asked_target import LONGEST
from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import HTTP, METHODS, SOCKS5, Event, ToClient
from faith.proxy.proxy_rules import ProxyRules
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5
from faith.relay.proxy import happy_dial, user_check
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.relay.tcp.record import Record
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation import reasons
from faith.translation.access import Access

PAGE = (Path(__file__).parents[1] / "docs/proxy.rst").read_text()
WORDS = " ".join(PAGE.split())
REFUSED_BY_DIALS = {
    *(reasons.REFUSED, reasons.UNREACHABLE, reasons.TIMEOUT, reasons.NO_NAME, reasons.NAME_FAILED),
    *(reasons.CLIENT_SHARE, reasons.NO_SOURCE, reasons.NO_PORT, reasons.SHED),
}
OF_MAPPED_ADDRESSES = {reasons.NOT_MAPPED, reasons.LOOP, reasons.NO_PREFIX}
"""Reasons of policy that no proxy's client is given."""


def table(title: str) -> list[list[str]]:
    """The cells of the table whose first column is called *title*, without marks of literals."""
    lines = PAGE[PAGE.index(f"\n{title} ") :].splitlines()[1:]
    marks = [found.span() for found in re.finditer("=+", lines[1])]
    ends = [start for start, _ in marks[1:]] + [None]
    rows = lines[2 : lines.index(lines[1], 2)]
    return [
        [
            row[start:end].strip().replace("`", "")
            for (start, _), end in zip(marks, ends, strict=True)
        ]
        for row in rows
    ]


def last(events: list[Event]) -> bytes:
    """The octets that the client is sent last."""
    return [event.data for event in events if isinstance(event, ToClient)][-1]


def http_status(answer: bytes) -> list[str]:
    """The status and the error's type of an answer, "" for none."""
    error = re.search(rb"Proxy-Status: \S+; error=(\w+)", answer)
    return [answer.split()[1].decode(), error[1].decode() if error else ""]


ASK5 = b"\5\1\0\1\xc0\0\2\x50\0\x50"
ASK4 = b"\4\1\0\x50\xc0\0\2\x50\0"


def asks(head: str = "GET http://example.org/ HTTP/1.1", *fields: str) -> bytes:
    lines = [head, "Host: example.org", *fields, "", ""]
    return "\r\n".join(lines).encode()


REASONS = table("why there is no server")


def test_every_reason_that_a_dial_can_have_is_in_the_table() -> None:
    told = {row[0].partition(":")[0] for row in REASONS}
    assert told == REFUSED_BY_DIALS | {*reasons.POLICY} - OF_MAPPED_ADDRESSES


@pytest.mark.parametrize("row", REASONS, ids=lambda row: row[0])
def test_what_a_client_is_told_of_a_reason(row: list[str]) -> None:
    why, *told = row
    socks5, socks4, http = Socks5(ProxyRules()), Socks4(ProxyRules()), HttpProxy(ProxyRules())
    socks5.from_client(b"\5\1\0")
    socks5.from_client(ASK5)
    socks4.from_client(ASK4)
    http.from_client(asks())
    answers = [str(last(machine.failed(why))[1]) for machine in (socks5, socks4)]
    assert [*answers, *http_status(last(http.failed(why)))] == told


LOCKED = ProxyRules(needs_user=True)
BASIC = "Proxy-Authorization: Basic YW5uOmFubg=="
BAD_NAME5 = b"\5\1\0\3\3a b\0\x50"
BAD_NAME4 = b"\4\1\0\x50\0\0\0\1\0a b\0"


def greeted(octets: bytes, rules: ProxyRules | None = None) -> str:
    """The reply of SOCKS5 to a request behind a greeting."""
    machine = Socks5(rules or ProxyRules())
    machine.from_client(b"\5\1\0")
    return str(last([*machine.from_client(octets)])[1])


def offered(rules: ProxyRules) -> str:
    """The method that SOCKS5 chooses for a client that has no password."""
    return f"method {last([*Socks5(rules).from_client(bytes((5, 1, 0)))])[1]}"


def logged_in(good: bool | None) -> str:
    machine = Socks5(LOCKED)
    machine.from_client(b"\5\1\2\1\3ann\3ann")
    return f"status {last([*machine.user_checked(good)])[1]}"


def replied4(octets: bytes, rules: ProxyRules | None = None) -> str:
    return str(last([*Socks4(rules or ProxyRules()).from_client(octets)])[1])


def answered(octets: bytes, rules: ProxyRules | None = None) -> list[str]:
    return http_status(last([*HttpProxy(rules or ProxyRules()).from_client(octets)]))


def checked(good: bool | None) -> list[str]:
    machine = HttpProxy(LOCKED)
    machine.from_client(asks("GET http://example.org/ HTTP/1.1", BASIC))
    return http_status(last([*machine.user_checked(good)]))


def overdue() -> list[str]:
    machine = HttpProxy(ProxyRules())
    machine.from_client(b"GET http:")
    for socks in (Socks5(ProxyRules()), Socks4(ProxyRules())):
        assert not any(isinstance(event, ToClient) for event in socks.overdue())
    return ["closed", "closed", *http_status(last([*machine.overdue()]))]


ALONE5, ALONE4 = (ProxyRules(methods=frozenset({method})) for method in (SOCKS5, HTTP))
NO_BIND = ProxyRules(bind=False)
REFUSALS = {
    "the method is not among methods": lambda: [
        offered(ALONE4),
        replied4(ASK4, ALONE4),
        *answered(asks(), ALONE5),
    ],
    "no user is named, but one is needed": lambda: [
        offered(LOCKED),
        replied4(ASK4, LOCKED),
        *answered(asks(), LOCKED),
    ],
    "a wrong password": lambda: [logged_in(False), "", *checked(False)],
    "too many wrong passwords": lambda: [logged_in(None), "", *checked(None)],
    "a port that is not among connect_ports": lambda: [
        *("", ""),
        *answered(asks("CONNECT example.org:22 HTTP/1.1")),
    ],
    "a command that there is not": lambda: [
        greeted(b"\5\2" + ASK5[2:], NO_BIND),
        replied4(b"\4\2" + ASK4[2:], NO_BIND),
        *("", ""),
    ],
    "a type of address that there is not": lambda: [greeted(b"\5\1\0\2"), "", "", ""],
    "a name that cannot be one": lambda: [
        greeted(BAD_NAME5),
        replied4(BAD_NAME4),
        *answered(asks("GET http://a_b..c/ HTTP/1.1")),
    ],
    "a head that is too large": lambda: [
        *("", ""),
        *answered(asks("GET http://example.org/ HTTP/1.1", "X: " + "x" * http_head.LIMIT)),
    ],
    "https:// or ftp://": lambda: [*("", ""), *answered(asks("GET ftp://example.org/ HTTP/1.1"))],
    "a loop of proxies": lambda: [
        *("", ""),
        *answered(asks("GET http://example.org/ HTTP/1.1", "Via: 1.1 faith")),
    ],
    "the request does not come in time": overdue,
}


def test_what_a_client_is_told_of_a_refusal() -> None:
    assert {name: told for name, *told in table("what ")} == {
        name: made() for name, made in REFUSALS.items()
    }
    https = answered(asks("GET https://example.org/ HTTP/1.1"))
    assert https == REFUSALS["https:// or ftp://"]()[2:]


def test_the_methods_are_those_of_the_settings() -> None:
    assert [row[0] for row in table("``methods``") if row[0]] == list(METHODS)


def test_the_numbers_are_those_of_the_program() -> None:
    relay = RelaySettings()
    for words in (
        f"there can be {proxy_table.MOST} proxies",
        f"the next after {happy_dial.ATTEMPT_DELAY:g} seconds",
        f"waits {happy_dial.RESOLUTION_DELAY:g} seconds for AAAA",
        f"{happy_dial.MOST} addresses are tried",
        f"remembered, up to {user_check.REMEMBERED:,}.",
        f"{user_check.FAILURES} wrong ones of a client a minute, and {user_check.ALL_FAILURES} of",
        f"``greeting`` in ``[timeouts]``, {relay.greeting_timeout:g} seconds",
        f"{http_head.LIMIT:,} octets and {http_head.FIELDS} fields; a name {LONGEST} octets",
    ):
        assert words in WORDS
    assert happy_dial.AT_ONCE == 2
    assert "Two attempts are under way at a time" in WORDS
    assert user_check.MINUTE == 60


def test_the_configuration_is_one() -> None:
    found = re.search(r"::\n\n((?:    .*\n)+)", PAGE)
    assert found
    (proxy,) = config.read(found[1], "faith.toml").proxies
    assert (proxy.host, proxy.port) == ("::", 1080)
    assert len(proxy.clients or ()) == 2
    assert str(proxy.connect_ports) == "443,8443"
    assert ProxySettings("::", 1080).clients is None


def test_the_rules_are_rules() -> None:
    written = re.findall(r"^    (\S+ +permit +\S+)$", PAGE, re.MULTILINE)
    assert len(Access.parse("\n".join(written)).rules) == len(written) == 3


def test_the_record_is_one() -> None:
    record = Record(
        ("2001:db8:6::2", 51462),
        ("2001:db8:6::1", 1080),
        reasons.CLOSED,
        1763845200.123,
        ("192.0.2.1", 35474),
        ("192.0.2.80", 443),
        seconds=0.12,
        sent=749,
        received=1614,
        method=SOCKS5,
        asked=("www.example.org", 443),
    )
    assert f"    {record.text()}\n" in PAGE
