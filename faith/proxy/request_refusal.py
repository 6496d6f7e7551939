"""The rules of a proxy against one request of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.proxy import via
from faith.proxy.proxy_events import CONNECT, HTTP, Target
from faith.proxy.request_target import HTTP_PORT
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.http_head import Request
    from faith.proxy.proxy_rules import ProxyRules

PRIVILEGED = 1024
"""Ports below it are reached by HTTP only if the rules say so, or it is that of HTTP."""


class RequestRefusal(NamedTuple):
    """The reason *why* a request is refused, of records, and the *text* that the client gets."""

    why: str
    text: str


def method_of(request: Request) -> str:
    """Return the way in which *request* asks for a server, of `METHODS`."""
    return CONNECT if request.method == b"CONNECT" else HTTP


def refusal(request: Request, server: Target, rules: ProxyRules) -> RequestRefusal | None:
    """Return what *rules* have against a *request* for *server*, None for nothing."""
    method = method_of(request)
    if method not in rules.methods:
        name = "CONNECT" if method == CONNECT else "forwarding of HTTP"
        return RequestRefusal(reasons.NO_METHOD, f"this proxy does without {name}")
    if not _is_open(server.port, method, rules):
        text = f"port {server.port} may not be reached by this proxy"
        return RequestRefusal(reasons.PORT_CLOSED, text)
    if via.has(request.fields, rules.pseudonym):
        text = "the request has come by this proxy already, as Via says"
        return RequestRefusal(reasons.PROXY_LOOP, text)
    return None


def _is_open(port: int, method: str, rules: ProxyRules) -> bool:
    if port in rules.connect_ports:
        return True
    return method == HTTP and (port >= PRIVILEGED or port == HTTP_PORT)
