"""Errors as HTTP says them, by reason (RFC 9110, RFC 9209)."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from faith.proxy import error_answers
from faith.proxy.error_answers import failure
from faith.translation import reasons


@pytest.mark.parametrize(
    ("why", "status", "error"),
    [
        (reasons.REFUSED, 502, "connection_refused"),
        (f"{reasons.UNREACHABLE}: No route to host", 502, "destination_ip_unroutable"),
        (reasons.TIMEOUT, 504, "connection_timeout"),
        (reasons.IDLE, 504, "http_response_timeout"),
        (reasons.LIFETIME, 504, "http_response_timeout"),
        (reasons.CLOSED, 502, "connection_terminated"),
        (reasons.KILLED, 502, "connection_terminated"),
        (reasons.OUT_OF_STEP, 502, "http_protocol_error"),
        (reasons.NO_METHOD, 403, "http_request_denied"),
        (reasons.NOT_A_CLIENT, 403, "http_request_denied"),
        (reasons.CLIENT_SHARE, 503, "connection_limit_reached"),
        (reasons.SHED, 503, "connection_limit_reached"),
        (reasons.NO_SOURCE, 503, "connection_limit_reached"),
        (reasons.NO_PORT, 503, "connection_limit_reached"),
        (reasons.STOPPED, 503, "proxy_internal_error"),
        (reasons.PREFIX_GONE, 503, "destination_unavailable"),
        (reasons.MAP_GONE, 503, "destination_unavailable"),
        (reasons.NO_NAME, 502, "dns_error"),
        (reasons.NAME_FAILED, 502, "dns_error"),
        (reasons.PROXY_LOOP, 502, "proxy_loop_detected"),
        (reasons.PORT_CLOSED, 403, "http_request_denied"),
        *((why, 403, "destination_ip_prohibited") for why in reasons.POLICY),
        *((why, 503, "connection_limit_reached") for why in reasons.LIMITS),
        *((why, 502, "connection_terminated") for why in reasons.SERVER_ENDS),
        ("something new", 502, "proxy_internal_error"),
    ],
)
def test_a_reason_has_its_status(why: str, status: int, error: str) -> None:
    assert failure(why) == (status, error)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 405, 407, 408, 414, 429, 431, 501, 502])
def test_a_status_has_the_phrase_of_its_rfc(status: int) -> None:
    names = {414: "URI Too Long"}  # http.HTTPStatus has the one of before RFC 9110
    line = error_answers.answer(status, "x").partition(b"\r\n")[0].decode()
    assert line == f"HTTP/1.1 {status} {names.get(status, HTTPStatus(status).phrase)}"


def test_every_status_has_a_phrase() -> None:
    for why in (*reasons.CONNECTION, *reasons.PROXY, *reasons.END):
        assert error_answers.answer(failure(why).status, "x").startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("pseudonym", "value"),
    [
        ("faith", b"faith; error=dns_error"),
        ("gate.example:1080", b"gate.example:1080; error=dns_error"),
        ("192.0.2.1", b'"192.0.2.1"; error=dns_error'),
        ("[2001:db8::1]", b'"[2001:db8::1]"; error=dns_error'),
    ],
)
def test_a_proxy_is_named_by_a_token_or_a_string(pseudonym: str, value: bytes) -> None:
    assert error_answers.proxy_status(pseudonym, "dns_error") == (b"Proxy-Status", value)


def test_the_text_is_the_content_and_nothing_else() -> None:
    whole = error_answers.answer(502, "no answer\r\nfrom \u00e9", [(b"A", b"b")])
    head, _, content = whole.partition(b"\r\n\r\n")
    assert content == b"no answer\r\nfrom ?\n"
    assert b"Content-Length: %d" % len(content) in head.split(b"\r\n")
    assert b"A: b" in head.split(b"\r\n")
    assert error_answers.answer(502, "x", has_body=False).endswith(b"Content-Length: 2\r\n\r\n")
