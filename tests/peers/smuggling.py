"""Requests that hide another one, and in which ways a client may claim to have meant them.

Each is said as ``/CASE/first``, with ``/CASE/hidden`` in its body or where two readers may find its
end, and is followed by ``/CASE/second`` on the same connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.peers.http_requests import get

if TYPE_CHECKING:
    from collections.abc import Callable

    Reading = tuple[str, ...]
    Readings = frozenset[Reading]


@dataclass(frozen=True)
class Place:
    """Where requests are sent: the path of the *case*, and the *authority* before it."""

    authority: str
    case: str

    def request(self, name: str, *fields: str, **how: str) -> bytes:
        """A request for the path with *name* as its last part."""
        target = f"http://{self.authority}/{self.case}/{name}"
        return get(target, *fields, host=self.authority, **how)

    @property
    def hidden(self) -> str:
        """The hidden request, whole."""
        return self.request("hidden").decode()


@dataclass(frozen=True)
class Smuggled:
    """A request: *say* makes its octets.  A server behind proxies may see one of the *claims*."""

    name: str
    say: Callable[[Place], bytes]
    claims: Readings


def _readings(*each: str) -> Readings:
    return frozenset(tuple(one.split()) for one in each)


REFUSED = _readings("")
BODY = _readings("first second")
"""The hidden request is the body, and nothing about that is doubtful."""
BODY_OR_REFUSED = REFUSED | BODY | _readings("first", "second")
BOTH_OR_REFUSED = _readings("", "first", "first hidden", "first hidden second")
"""By the rule of RFC 9112 §6.3 the body ends before the hidden request, which is one then."""

CHUNKED = "Transfer-Encoding: chunked"
_END = "0\r\n\r\n"


def post(*fields: str, body: str, **how: str) -> Callable[[Place], bytes]:
    """A POST with *body*, where HIDDEN is the hidden request.

    SIZE and HEX, in *fields* as well, are its length.
    """

    def say(place: Place) -> bytes:
        hidden = place.hidden

        def filled(text: str) -> str:
            text = text.replace("SIZE", f"{len(hidden)}").replace("HEX", f"{len(hidden):x}")
            return text.replace("HIDDEN", hidden)

        method = how.get("method", "POST")
        others = {key: value for key, value in how.items() if key != "method"}
        return place.request(
            "first", *map(filled, fields), method=method, body=filled(body), **others
        )

    return say


def _length(field: str, claims: Readings = REFUSED) -> Smuggled:
    return Smuggled(field.replace("SIZE", "N"), post(field, body="HIDDEN"), claims)


def _coding(field: str, claims: Readings = REFUSED) -> Smuggled:
    """Read as chunks, the body is empty, and the hidden request is one."""
    name = repr(field).strip("'\"")
    return Smuggled(name, post(field, "Content-Length: SIZE", body=_END + "HIDDEN"), claims)


def _chunk(name: str, body: str, claims: Readings = REFUSED) -> Smuggled:
    return Smuggled(name, post(CHUNKED, body=body), claims)


def _both(place: Place) -> bytes:
    """The length ends before the hidden request, and the chunk behind it."""
    size = f"{len(place.hidden):x}\r\n"
    body = f"{size}{place.hidden}\r\n{_END}"
    return place.request("first", f"Content-Length: {len(size)}", CHUNKED, method="POST", body=body)


def _denied_tunnel(place: Place) -> bytes:
    return get("v4.example:25", method="CONNECT", host="v4.example:25") + place.hidden.encode()


SMUGGLED = (
    Smuggled("a body", post("Content-Length: SIZE", body="HIDDEN"), BODY),
    Smuggled("a body in a chunk", post(CHUNKED, body=f"HEX\r\nHIDDEN\r\n{_END}"), BODY),
    Smuggled(
        "a body of GET", post("Content-Length: SIZE", body="HIDDEN", method="GET"), BODY_OR_REFUSED
    ),
    Smuggled(
        "a body that is expected",
        post("Content-Length: SIZE", "Expect: 100-continue", body="HIDDEN"),
        BODY_OR_REFUSED,
    ),
    Smuggled(
        "a length that Connection names",
        post("Content-Length: SIZE", "Connection: Content-Length", body="HIDDEN"),
        BODY_OR_REFUSED,
    ),
    Smuggled(
        "chunks that Connection names",
        post(CHUNKED, "Connection: Transfer-Encoding", body=f"HEX\r\nHIDDEN\r\n{_END}"),
        BODY_OR_REFUSED,
    ),
    Smuggled(
        "an upgrade with a body",
        post(
            "Content-Length: SIZE",
            "Connection: upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            body="HIDDEN",
        ),
        BODY_OR_REFUSED,
    ),
    # two framings
    Smuggled("chunks, and a length beyond", _coding(CHUNKED).say, BOTH_OR_REFUSED),
    Smuggled("chunks, and a length before", _both, BODY_OR_REFUSED),
    Smuggled(
        "two lengths", post("Content-Length: SIZE", "Content-Length: 0", body="HIDDEN"), REFUSED
    ),
    Smuggled(
        "two lengths, 0 first",
        post("Content-Length: 0", "Content-Length: SIZE", body="HIDDEN"),
        REFUSED,
    ),
    Smuggled(
        "a length and chunks of HTTP/1.0",
        post(CHUNKED, "Content-Length: SIZE", body=_END + "HIDDEN", version="1.0"),
        BOTH_OR_REFUSED | BODY_OR_REFUSED,
    ),
    # odd lengths
    _length("Content-Length: 0, SIZE"),
    _length("Content-Length: SIZE, SIZE", BODY_OR_REFUSED),
    _length("Content-Length: +SIZE"),
    _length("Content-Length: -SIZE"),
    _length("Content-Length: 0xHEX"),
    _length("Content-Length: SIZE;"),
    _length("Content-Length: 0SIZE", BODY_OR_REFUSED),
    _length("Content-Length: 1 SIZE"),
    _length("Content-Length : SIZE"),
    _length("Content-Length:\vSIZE", BODY_OR_REFUSED),
    _length("Content_Length: 0\r\nContent-Length: SIZE", BODY_OR_REFUSED),
    # odd codings
    _coding("Transfer-Encoding: xchunked"),
    _coding("Transfer-Encoding: chunked, identity"),
    _coding("Transfer-Encoding: identity, chunked", BOTH_OR_REFUSED),
    _coding("Transfer-Encoding: chunked, chunked"),
    _coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
    _coding("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", BOTH_OR_REFUSED),
    _coding("Transfer-Encoding: CHUNKED", BOTH_OR_REFUSED),
    _coding("Transfer-Encoding:\tchunked", BOTH_OR_REFUSED),
    _coding("Transfer-Encoding: \vchunked", BOTH_OR_REFUSED),
    _coding('Transfer-Encoding: "chunked"'),
    _coding("Transfer-Encoding: chunked;q=1"),
    _coding("Transfer-Encoding : chunked"),
    _coding("Transfer-Encoding:\r\n chunked", BOTH_OR_REFUSED),
    _coding(" Transfer-Encoding: chunked", BODY_OR_REFUSED),
    _coding("X: 1\nTransfer-Encoding: chunked", BOTH_OR_REFUSED | BODY_OR_REFUSED),
    _coding("X: 1\rTransfer-Encoding: chunked", BODY_OR_REFUSED),
    _coding("X: 1\0\r\nTransfer-Encoding: chunked", BOTH_OR_REFUSED),
    _coding("Transfer_Encoding: chunked", BODY_OR_REFUSED),
    # odd chunks
    _chunk("0x before a size", f"0xHEX\r\nHIDDEN\r\n{_END}"),
    _chunk("+ before a size", f"+HEX\r\nHIDDEN\r\n{_END}"),
    _chunk("zeros before a size", f"0000HEX\r\nHIDDEN\r\n{_END}", BODY_OR_REFUSED),
    _chunk("a space behind a size", f"HEX \r\nHIDDEN\r\n{_END}", BODY_OR_REFUSED),
    _chunk("an extension", f"HEX;a=b\r\nHIDDEN\r\n{_END}", BODY_OR_REFUSED),
    _chunk("an extension with LF", f"0;a\nHEX\r\nHIDDEN\r\n{_END}"),
    _chunk("an extension with CR", f"0;a\rb\r\nHIDDEN\r\n{_END}"),
    _chunk("a size of 17 digits", f"10000000000000000\r\n\r\nHIDDEN{_END}"),
    _chunk("a size that ends in LF", f"HEX\nHIDDEN\r\n{_END}", BODY_OR_REFUSED),
    _chunk("a chunk that ends in LF", f"HEX\r\nHIDDEN\n{_END}", BODY_OR_REFUSED),
    _chunk("a chunk longer than its size", f"1\r\n{_END}HIDDEN"),
    _chunk("a length as a trailer", "0\r\nContent-Length: SIZE\r\n\r\nHIDDEN", BOTH_OR_REFUSED),
    _chunk("a trailer without a colon", "0\r\nno colon\r\n\r\nHIDDEN", BOTH_OR_REFUSED),
    # others
    Smuggled("a tunnel that is denied", _denied_tunnel, _readings("", "hidden second")),
    Smuggled(
        "a request of HTTP/0.9",
        lambda place: f"GET http://{place.authority}/{place.case}/hidden\r\n\r\n".encode(),
        REFUSED | _readings("hidden"),
    ),
    Smuggled(
        "HEAD",
        lambda place: place.request("first", method="HEAD"),
        BODY,
    ),
)
