"""Heads as they go on: a request's to the server, and a response's to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.proxy import via
from faith.proxy.body_framing import Chunked
from faith.proxy.hop_by_hop import end_to_end, listed
from faith.proxy.request_target import authority

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.proxy.http_head import Field, Request, Response
    from faith.proxy.request_target import Asked

_CHUNKED = b"Transfer-Encoding", b"chunked"
_WEBSOCKET = b"websocket"
_LENGTH = (b"content-length",)


def upgrades(request: Request) -> bool:
    """Return whether *request* asks for a WebSocket (RFC 6455 §4.1), the only upgrade passed on."""
    return (
        request.minor == 1
        and request.method == b"GET"
        and listed(request.fields, b"upgrade") == [_WEBSOCKET]
        and b"upgrade" in listed(request.fields, b"connection")
    )


def request_head(
    request: Request, asked: Asked, pseudonym: str, *, chunked: bool, max_forwards: int | None
) -> bytes:
    """Return the head of *request* for the server, which may keep the connection open.

    *max_forwards* is the value of Max-Forwards for the next hop, None without.
    """
    assert asked.server
    left_out = [b"host"]
    if request.minor == 0:
        left_out.append(b"expect")  # RFC 9110 §10.1.1
    if max_forwards is not None:
        left_out.append(b"max-forwards")
    fields: list[Field] = [(b"Host", authority(asked.server))]
    fields += end_to_end(request.fields, left_out)
    if max_forwards is not None:
        fields.append((b"Max-Forwards", b"%d" % max_forwards))
    if chunked:
        fields.append(_CHUNKED)
    options = []
    if b"trailers" in listed(request.fields, b"te") and request.minor:
        fields.append((b"TE", b"trailers"))
        options.append(b"TE")
    if upgrades(request):
        fields.append((b"Upgrade", _WEBSOCKET))
        options.append(b"Upgrade")
    if options:
        fields.append((b"Connection", b", ".join(options)))
    fields.append(via.field(request.minor, pseudonym))
    return _head(b"%s %s HTTP/1.1" % (request.method, asked.path), fields)


def response_head(
    response: Response,
    pseudonym: str,
    *,
    chunked: bool,
    closes: bool,
    more: tuple[Field, ...] = (),
) -> bytes:
    """Return the head of *response* for the client, whose connection the proxy *closes* or not.

    It has *more* fields besides the server's.
    """
    status = response.status
    has_no_length = status < 200 or status == 204  # RFC 9110 §8.6
    fields = end_to_end(response.fields, _LENGTH if has_no_length else ())
    fields += more
    if chunked:
        fields.append(_CHUNKED)
    if status == 101:
        fields += [(b"Upgrade", _WEBSOCKET), (b"Connection", b"Upgrade")]
    elif closes:
        fields.append((b"Connection", b"close"))
    if status >= 200:
        fields.append(via.field(response.minor, pseudonym))
    return _head(b"HTTP/1.1 %d %s" % (status, response.phrase), fields)


def _head(first: bytes, fields: Iterable[Field]) -> bytes:
    return b"\r\n".join([first, *[b"%s: %s" % field for field in fields], b"", b""])


def is_chunked(body: object) -> bool:
    """Return whether a message with that *body* is sent on in chunks."""
    return isinstance(body, Chunked) and not body.bare
