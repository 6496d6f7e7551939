"""Answers that the proxy makes itself: errors in plain text, by reason (RFC 9110, RFC 9209)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from faith.translation import reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.proxy.http_head import Field

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    414: "URI Too Long",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")


class Failure(NamedTuple):
    """An answer for a reason: the *status*, and the error's type in Proxy-Status, "" for none."""

    status: int
    error: str = ""


_DENIED = Failure(403, "destination_ip_prohibited")
_BUSY = Failure(503, "connection_limit_reached")
_BY_REASON = {
    reasons.REFUSED: Failure(502, "connection_refused"),
    reasons.UNREACHABLE: Failure(502, "destination_ip_unroutable"),
    reasons.TIMEOUT: Failure(504, "connection_timeout"),
    reasons.IDLE: Failure(504, "http_response_timeout"),
    reasons.LIFETIME: Failure(504, "http_response_timeout"),
    reasons.CLOSED: Failure(502, "connection_terminated"),
    reasons.KILLED: Failure(502, "connection_terminated"),
    **dict.fromkeys(reasons.SERVER_ENDS, Failure(502, "connection_terminated")),
    reasons.OUT_OF_STEP: Failure(502, "http_protocol_error"),
    reasons.NO_NAME: Failure(502, "dns_error"),
    reasons.NAME_FAILED: Failure(502, "dns_error"),
    reasons.PROXY_LOOP: Failure(502, "proxy_loop_detected"),
    reasons.PORT_CLOSED: Failure(403, "http_request_denied"),
    reasons.NO_METHOD: Failure(403, "http_request_denied"),
    reasons.NOT_A_CLIENT: Failure(403, "http_request_denied"),
    **dict.fromkeys(reasons.POLICY, _DENIED),
    **dict.fromkeys(reasons.LIMITS, _BUSY),
    **dict.fromkeys(
        (reasons.CLIENT_SHARE, reasons.SHED, reasons.NO_SOURCE, reasons.NO_PORT), _BUSY
    ),
    reasons.STOPPED: Failure(503, "proxy_internal_error"),
    reasons.PREFIX_GONE: Failure(503, "destination_unavailable"),
    reasons.MAP_GONE: Failure(503, "destination_unavailable"),
}


def failure(why: str) -> Failure:
    """Return how a reason is answered; details may follow it behind a colon."""
    return _BY_REASON.get(why.partition(":")[0], Failure(502, "proxy_internal_error"))


def proxy_status(pseudonym: str, error: str) -> Field:
    """Return the field by which a proxy says which error an answer is of (RFC 9209 §2)."""
    name = pseudonym if _TOKEN.fullmatch(pseudonym) else f'"{pseudonym}"'
    return b"Proxy-Status", f"{name}; error={error}".encode("ascii")


def answer(status: int, text: str, fields: Iterable[Field] = (), *, has_body: bool = True) -> bytes:
    """Return a response of HTTP/1.1 with that *text* and these *fields* besides its own.

    Without a body, as for HEAD, its fields are those of the one with a body.
    """
    return content(
        status,
        text.encode("ascii", "replace") + b"\n",
        [
            (b"Content-Type", b"text/plain; charset=us-ascii"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Cache-Control", b"no-store"),
            *fields,
        ],
        has_body=has_body,
    )


def content(status: int, octets: bytes, fields: Iterable[Field], *, has_body: bool = True) -> bytes:
    """Return a response of HTTP/1.1 with these *octets* as its content."""
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}".encode("ascii")]
    lines += [b"%s: %s" % field for field in fields]
    lines.append(b"Content-Length: %d" % len(octets))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (octets if has_body else b"")
