"""The target of a request in its four forms (RFC 9112 §3.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from faith.proxy.asked_target import BadTarget, target
from faith.proxy.http_head import BadMessage, Request

if TYPE_CHECKING:
    from faith.proxy.proxy_events import Target

HTTP_PORT = 80
SERVERS = 256
"""Authorities whose servers are kept at hand; good ones alone, which are short."""

_AUTHORITY = re.compile(rb"(\[[^\[\]@/?#]*\]|[^\[\]:@/?#]*)(?::([0-9]*))?")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):(//)?([^/?#]*)(.*)")
_NOT_SPOKEN = {
    b"https": "https:// is asked for by CONNECT, so that TLS ends at the client",
    b"ftp": "ftp:// is not forwarded: use FTP itself, by SOCKS or through the gateway's prefix",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's target: the *server*, None for the proxy itself, and the *path* to ask it for.

    The path of CONNECT is empty.
    """

    server: Target | None
    path: bytes


def asked(request: Request) -> Asked:
    """Return the target of *request*.  Raises BadMessage for one that no proxy is asked for."""
    if request.method == b"CONNECT":
        return Asked(_server(request.target, None), b"")
    if request.target.startswith(b"/"):
        return Asked(None, request.target)
    if request.target == b"*" and request.method == b"OPTIONS":
        return Asked(None, request.target)
    return _absolute(request)


def _absolute(request: Request) -> Asked:
    found = _ABSOLUTE.fullmatch(request.target)
    if found is None:
        raise BadMessage("the target is no absolute URI, which is what a proxy is asked for")
    scheme, slashes, authority, path = found.groups()
    if scheme.lower() != b"http":
        text = _NOT_SPOKEN.get(scheme.lower(), "of URIs, only http:// is forwarded")
        raise BadMessage(text, 501)
    if not slashes or b"#" in path:
        raise BadMessage("the target is no http URI (RFC 9110 section 4.2.1)")
    server = _server(authority, HTTP_PORT)
    if request.method == b"OPTIONS" and not path:
        return Asked(server, b"*")
    return Asked(server, path if path.startswith(b"/") else b"/" + path)


@lru_cache(SERVERS)
def _server(authority: bytes, default_port: int | None) -> Target:
    if b"@" in authority:
        raise BadMessage("a user in the URI is refused (RFC 9110 section 4.2.4)")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise BadMessage("the authority is not a host and a port")
    host, port = found.groups()
    if not port and default_port is None:
        raise BadMessage("CONNECT takes a host and a port (RFC 9110 section 9.3.6)")
    if port and len(port) > 5:
        raise BadMessage("the port is not between 1 and 65535")
    try:
        return target(host, int(port) if port else default_port or 0)
    except BadTarget as error:
        raise BadMessage(str(error)) from None


def authority(server: Target) -> bytes:
    """Return the value of Host for *server*."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return (host if server.port == HTTP_PORT else f"{host}:{server.port}").encode("ascii")
