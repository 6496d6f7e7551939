"""Answers that a proxy gives itself."""

from __future__ import annotations

import pytest

from faith.proxy import own_answers
from faith.proxy.http_head import BadMessage, Field, Request
from faith.proxy.proxy_events import Target
from faith.proxy.proxy_rules import ProxyRules

PAC = ProxyRules(autoconfig="function FindProxyForURL(url, host) {}\n")


def request(method: bytes, path: bytes, *fields: Field, minor: int = 1) -> Request:
    return Request(method, path, minor, fields)


@pytest.mark.parametrize("path", [b"/proxy.pac", b"/wpad.dat", b"/wpad.dat?x=y"])
def test_the_file_for_automatic_configuration(path: bytes) -> None:
    answer = own_answers.resource(request(b"GET", path), path, PAC)
    assert answer.message(closes=False, has_body=True) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n"
        b"Content-Length: 39\r\n\r\nfunction FindProxyForURL(url, host) {}\n"
    )


@pytest.mark.parametrize(
    ("method", "path", "rules", "status"),
    [
        (b"GET", b"/proxy.pac", ProxyRules(), 404),
        (b"POST", b"/proxy.pac", PAC, 405),
        (b"HEAD", b"/proxy.pac", PAC, 200),
        (b"GET", b"/", PAC, 400),
        (b"GET", b"/proxy.pac/", PAC, 400),
        (b"GET", b"//proxy.pac", PAC, 400),
        (b"OPTIONS", b"*", PAC, 200),
    ],
)
def test_what_else_a_proxy_is_asked_for(
    method: bytes, path: bytes, rules: ProxyRules, status: int
) -> None:
    assert own_answers.resource(request(method, path), path, rules).status == status


@pytest.mark.parametrize(
    ("fields", "minor", "leaves"),
    [
        ((), 1, False),
        ((), 0, True),
        (((b"Connection", b"keep-alive"),), 0, True),
        (((b"Connection", b"foo, CLOSE"),), 1, True),
        (((b"Proxy-Connection", b"close"),), 1, True),
        (((b"Proxy-Connection", b"keep-alive"),), 1, False),
    ],
)
def test_who_leaves(fields: tuple[Field, ...], minor: int, leaves: bool) -> None:
    assert own_answers.leaves(request(b"GET", b"/", *fields, minor=minor)) == leaves


@pytest.mark.parametrize(
    ("method", "values", "hops"),
    [
        (b"TRACE", [], None),
        (b"TRACE", [b"0"], 0),
        (b"OPTIONS", [b"010"], 10),
        (b"GET", [b"0"], None),
        (b"GET", [b"x"], None),
    ],
)
def test_max_forwards(method: bytes, values: list[bytes], hops: int | None) -> None:
    fields = [(b"max-forwards", value) for value in values]
    assert own_answers.max_forwards(request(method, b"/", *fields)) == hops


@pytest.mark.parametrize("values", [[b""], [b"-1"], [b"1", b"1"], [b"1, 1"], [b"1" * 10]])
def test_no_number_of_hops(values: list[bytes]) -> None:
    with pytest.raises(BadMessage):
        own_answers.max_forwards(
            request(b"TRACE", b"/", *((b"Max-Forwards", value) for value in values))
        )


def test_the_last_hop_of_trace_returns_what_it_was_sent_but_no_secret() -> None:
    sent = request(
        b"TRACE",
        b"http://example.org/",
        (b"Host", b"example.org"),
        (b"Cookie", b"secret"),
        (b"Authorization", b"secret"),
        (b"PROXY-Authorization", b"secret"),
        (b"Via", b"1.1 fred"),
    )
    assert own_answers.last_hop(sent).octets == (
        b"TRACE http://example.org/ HTTP/1.1\r\nHost: example.org\r\nVia: 1.1 fred\r\n\r\n"
    )


def test_passwords() -> None:
    challenge = b'Proxy-Authenticate: Basic realm="proxy", charset="UTF-8"\r\n'
    for answer in (own_answers.password_needed(), own_answers.wrong_password(False)):
        assert answer.status == 407
        assert challenge in answer.message(closes=False, has_body=True)
    assert own_answers.wrong_password(None).status == 429


def test_an_answer_says_when_it_is_the_last() -> None:
    answer = own_answers.failed("refused", "text", "faith")
    assert b"\r\nConnection: close\r\n" in answer.message(closes=True, has_body=True)
    assert b"Connection" not in answer.message(closes=False, has_body=True)


@pytest.mark.parametrize(
    ("why", "target", "text"),
    [
        ("refused", Target("example.org", 80, False), "no answer from example.org:80: refused"),
        ("refused", Target("2001:db8::1", 80, True), "no answer from [2001:db8::1]:80: refused"),
        (
            "unreachable: No route to host",
            Target("example.org", 80, False),
            "no answer from example.org:80: unreachable: No route to host",
        ),
        (
            "special destination",
            Target("127.0.0.1", 80, True),
            "no connection to 127.0.0.1:80: special destination",
        ),
        (
            "no such name",
            Target("example.org", 80, False),
            "no connection to example.org:80: no such name",
        ),
    ],
)
def test_a_client_is_told_who_did_not_answer_and_why(why: str, target: Target, text: str) -> None:
    assert own_answers.told(why, target) == text


def test_which_methods_there_are() -> None:
    asked = request(b"OPTIONS", b"*")
    message = own_answers.last_hop(asked).message(closes=False, has_body=True)
    assert b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT\r\n" in message
    assert message.endswith(b"\r\nContent-Length: 0\r\n\r\n")


def test_who_has_guessed_too_often_is_told_to_wait() -> None:
    message = own_answers.wrong_password(None).message(closes=False, has_body=True)
    assert b"\r\nRetry-After: 60\r\n" in message
    assert message.endswith(b"wait a minute\n")


def test_a_bad_message_has_its_status() -> None:
    answer = own_answers.bad_message(BadMessage("too long", 431), "faith")
    assert answer.status == 431
    assert answer.fields == ((b"Proxy-Status", b"faith; error=http_request_error"),)
