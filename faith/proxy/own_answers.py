"""Answers that a proxy gives itself, in place of a server (RFC 9110)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.proxy import error_answers
from faith.proxy.hop_by_hop import listed
from faith.proxy.http_head import BadMessage, Field, Request, Response, values
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.proxy_events import Target
    from faith.proxy.proxy_rules import ProxyRules

AUTOCONFIG_PATHS = frozenset((b"/proxy.pac", b"/wpad.dat"))
AUTOCONFIG_TYPE = b"application/x-ns-proxy-autoconfig"

_ALLOW = b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT"
_READ = b"Allow", b"GET, HEAD"
_CHALLENGE = b"Proxy-Authenticate", b'Basic realm="proxy", charset="UTF-8"'
_LATER = b"Retry-After", b"60"
_CLOSE = b"Connection", b"close"
_HOPS = re.compile(rb"[0-9]{1,9}")
_LAST_HOP = frozenset((b"OPTIONS", b"TRACE"))
"""Methods whose Max-Forwards counts (RFC 9110 §7.6.2)."""
_SECRETS = frozenset((b"authorization", b"cookie", b"proxy-authorization"))
"""Fields that no answer to TRACE contains (RFC 9110 §9.3.8)."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An answer of that *status*: *text*, or *octets* of a type that *fields* say."""

    status: int
    text: str = ""
    fields: tuple[Field, ...] = ()
    octets: bytes | None = None

    def message(self, *, closes: bool, has_body: bool) -> bytes:
        """Return the whole response; it says so if the proxy *closes* the connection after it."""
        fields = (*self.fields, _CLOSE) if closes else self.fields
        if self.octets is None:
            return error_answers.answer(self.status, self.text, fields, has_body=has_body)
        return error_answers.content(self.status, self.octets, fields, has_body=has_body)


OVERDUE = OwnAnswer(408, "the request did not come whole in time")
"""The answer to a request that nobody waits for any longer (RFC 9110 §15.5.9)."""


def leaves(message: Request | Response) -> bool:
    """Return whether the sender of *message* keeps no connection, or has no way to say so.

    HTTP/1.0 has none through a proxy (RFC 9112 §9.3, §C.2.2).
    """
    said = listed(message.fields, b"connection") + listed(message.fields, b"proxy-connection")
    return message.minor == 0 or b"close" in said


def failed(why: str, text: str, pseudonym: str) -> OwnAnswer:
    """Return the answer to a request that came to nothing for the reason *why*."""
    status, error = error_answers.failure(why)
    return OwnAnswer(status, text, (error_answers.proxy_status(pseudonym, error),))


def bad_message(error: BadMessage, pseudonym: str) -> OwnAnswer:
    """Return the answer to a request that cannot be read, or not be served."""
    status = error_answers.proxy_status(pseudonym, "http_request_error")
    return OwnAnswer(error.status, str(error), (status,))


def told(why: str, target: Target) -> str:
    """Return what a client is told when *target* gave no answer for the reason *why*.

    What ends a session may have ended one with the server; for other reasons there was none.
    """
    host = f"[{target.host}]" if ":" in target.host else target.host
    what = "no answer from" if why.partition(":")[0] in reasons.END else "no connection to"
    return f"{what} {host}:{target.port}: {why}"


def password_needed() -> OwnAnswer:
    """Return the answer to a request without user and password (RFC 7617)."""
    return OwnAnswer(407, "this proxy needs a user and a password", (_CHALLENGE,))


def wrong_password(good: bool | None) -> OwnAnswer:
    """Return the answer to a password that is wrong, or that nobody looked at (None)."""
    if good is None:
        return OwnAnswer(429, "too many wrong passwords: wait a minute", (_LATER,))
    return OwnAnswer(407, "user or password is wrong", (_CHALLENGE,))


def resource(request: Request, path: bytes, rules: ProxyRules) -> OwnAnswer:
    """Return the answer to a *request* for *path* of the proxy itself."""
    if path == b"*":
        return last_hop(request)
    if path.partition(b"?")[0] not in AUTOCONFIG_PATHS:
        return OwnAnswer(
            400, "this is a proxy: it is asked by CONNECT, or for an absolute URI (http://...)"
        )
    if rules.autoconfig is None:
        return OwnAnswer(404, "this proxy has no file for automatic configuration")
    if request.method not in (b"GET", b"HEAD"):
        return OwnAnswer(405, "this can be read only", (_READ,))
    octets = rules.autoconfig.encode("ascii")
    return OwnAnswer(200, fields=((b"Content-Type", AUTOCONFIG_TYPE),), octets=octets)


def max_forwards(request: Request) -> int | None:
    """Return how many more proxies *request* may come by; None if that does not matter.

    Raises BadMessage for what is not one number.
    """
    if request.method not in _LAST_HOP:
        return None
    found = values(request.fields, b"max-forwards")
    if not found:
        return None
    if len(found) > 1 or not _HOPS.fullmatch(found[0]):
        raise BadMessage("Max-Forwards is not one number (RFC 9110 section 7.6.2)")
    return int(found[0])


def last_hop(request: Request) -> OwnAnswer:
    """Return the answer of the proxy to OPTIONS or TRACE, as the last that they may reach."""
    if request.method == b"OPTIONS":
        return OwnAnswer(200, fields=(_ALLOW,), octets=b"")
    lines = [b"%s %s HTTP/1.%d" % (request.method, request.target, request.minor)]
    lines += [b"%s: %s" % field for field in request.fields if field[0].lower() not in _SECRETS]
    octets = b"\r\n".join(lines) + b"\r\n\r\n"
    return OwnAnswer(200, fields=((b"Content-Type", b"message/http"),), octets=octets)
