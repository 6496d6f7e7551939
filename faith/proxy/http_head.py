"""Heads of HTTP/1.1 messages: a strict look at the octets, and then h11 (RFC 9112).

h11 is lenient where RFC 9112 lets it be: with bare line feeds, folded lines, repeated lengths.
Between a proxy and a server that read these differently there is room for a second request, so
whatever has two readings is refused before h11 sees it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import h11

from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 65536
"""Octets of a head, or of a trailer section."""
FIELDS = 256
"""Fields of a head, or of a trailer section."""

Field = tuple[bytes, bytes]
"""The name, as it was sent, and the value."""

_END = b"\r\n\r\n"
# Behind an octet that is worth a look: the end, a fold, a bare CR or LF, or another control
# character.  A set in front lets the search pass over all others at once.
_ODD = rb"(?:(?<=\r)(?:\n(?:\r\n|[ \t])|(?=[^\n]))|(?<=\n)(?<!\r\n)|(?<![\r\n]))"
_STOP_REQUEST = re.compile(rb"[\0-\x08\n-\x1f\x7f]" + _ODD)
# Servers put other control characters into cookies, and nobody reads these as the end of anything.
# \v and \f end a value to h11, whose pattern then tries every cut of the blanks before it, by the
# square of their number: a head of 60,000 took 27 s.
_STOP_RESPONSE = re.compile(rb"[\0\n-\r]" + _ODD)
# The least that all have in common: the line behind which it is clear that no request comes.
_REQUEST_LINE = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/[0-9.]+\r\n")
_CODING = re.compile(rb"\r\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:([^\r]*)", re.IGNORECASE)
_LENGTH_VALUE = re.compile(rb"[ \t]*[0-9]{1,18}[ \t]*")
_HOST_VALUE = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
# Servers behind CGI, and what is like it, take the first for the second (RFC 3875 §4.1.18).
_IMITATION = re.compile(rb"\r\n(?:content[_]length|transfer[_]encoding):", re.IGNORECASE)

# h11 expects no interim response, and no 101, before a request that may have one.
_SOME_REQUEST = h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Upgrade", "a")])

_RESPONSES = h11.Response, h11.InformationalResponse


class Fields(tuple[Field, ...]):  # noqa: SLOT001 # a tuple has no slot for what is found by name
    """The fields of a head, in their order."""

    named: dict[bytes, list[bytes]]
    """The values by the names in lower case: a head is asked for a dozen of them."""

    def __new__(cls, fields: Iterable[Field]) -> Fields:
        """Return the *fields*, to be found by their names."""
        self = super().__new__(cls, fields)
        named = self.named = {}
        for name, value in self:
            if (lower := name.lower()) in named:
                named[lower].append(value)
            else:
                named[lower] = [value]
        return self


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Return the values of all fields called *name*, which is in lower case, in their order."""
    if not isinstance(fields, Fields):
        fields = Fields(fields)
    return fields.named.get(name, [])


class BadMessage(FaithError):
    """A message that is malformed or ambiguous; *status* answers it if it is a request."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class Request(NamedTuple):
    """The head of a request of HTTP/1.*minor*, 0 or 1."""

    method: bytes
    target: bytes
    minor: int
    fields: tuple[Field, ...]


class Response(NamedTuple):
    """The head of a response of HTTP/1.*minor*, 0 or 1."""

    status: int
    phrase: bytes
    minor: int
    fields: tuple[Field, ...]


class HeadReader:
    """Finds heads in a buffer that grows, and looks at every octet about once."""

    def __init__(self, *, of_requests: bool) -> None:
        self._of_requests = of_requests
        self._stop = _STOP_REQUEST if of_requests else _STOP_RESPONSE
        self._searched = 0
        self._line_seen = False

    def take(self, buffer: bytearray) -> bytes | None:
        """Take a head and the empty line behind it off *buffer*; None while it is not whole.

        Empty lines before a request are dropped (RFC 9112 §2.2).  Raises BadMessage as soon as
        there is an octet that no head may have, or a first line that no request has, and for a head
        that is too long.
        """
        if not buffer:
            return None
        while self._of_requests and buffer.startswith(b"\r\n"):
            del buffer[:2]
        found = self._stop.search(buffer, max(0, self._searched - 3), LIMIT)
        if self._of_requests:
            self._look_at_line(buffer, found.start() if found else LIMIT - 2)
        if found is None and len(buffer) < LIMIT:
            self._searched = len(buffer)
            return None
        self._searched = 0
        self._line_seen = False
        if found is None:
            short = b"\r\n" in buffer[:LIMIT]
            raise BadMessage(f"the head is longer than {LIMIT} octets", 431 if short else 414)
        if found[0] != _END:
            raise BadMessage(_what_is_wrong(found[0]))
        head = bytes(buffer[: found.end()])
        del buffer[: found.end()]
        return head

    def _look_at_line(self, buffer: bytearray, good: int) -> None:
        """Raise BadMessage for a first line, ended within the *good* octets, that is of no request.

        *good* octets and a line end behind them are looked at, however many have come.
        """
        if self._line_seen or buffer.find(b"\r\n", max(0, self._searched - 1), good + 2) < 0:
            return
        if not _REQUEST_LINE.match(buffer):
            raise BadMessage("the first line is not that of a request (RFC 9112 section 3)")
        self._line_seen = True


def _what_is_wrong(octets: bytes) -> str:
    if octets[-1:] in (b" ", b"\t"):
        return "a field is folded over two lines (RFC 9112 section 5.2)"
    if octets in (b"\r", b"\n"):
        return "a line does not end in CR and LF (RFC 9112 section 2.2)"
    return f"there is a control character, 0x{octets[0]:02x}, in the head"


def request(head: bytes) -> Request:
    """Return the request with that *head*, of HeadReader.  Raises BadMessage."""
    _check(head)
    if _IMITATION.search(head):
        raise BadMessage("a field imitates one that frames the body, with _ in place of -")
    event = _event(h11.Connection(h11.SERVER, LIMIT), head)
    if not isinstance(event, h11.Request):
        raise BadMessage("there is no request")
    minor = _minor(event.http_version)
    fields = _fields(event.headers.raw_items())
    if not all(map(_HOST_VALUE.fullmatch, values(fields, b"host"))):
        raise BadMessage("the value of Host is not one of a host")
    return Request(bytes(event.method), bytes(event.target), minor, fields)


def response(head: bytes) -> Response:
    """Return the response with that *head*, of HeadReader.  Raises BadMessage."""
    _check(head)
    connection = h11.Connection(h11.CLIENT, LIMIT)
    if head[8:10] == b" 1":
        connection.send(_SOME_REQUEST)
    event = _event(connection, head)
    if not isinstance(event, _RESPONSES):
        raise BadMessage("there is no response")
    minor = _minor(event.http_version)
    return Response(
        event.status_code, bytes(event.reason), minor, _fields(event.headers.raw_items())
    )


def trailers(section: bytes) -> list[Field]:
    """Return the fields of a trailer *section*, of HeadReader.  Raises BadMessage."""
    found = []
    for line in section.removesuffix(_END).split(b"\r\n"):
        field = _TRAILER.fullmatch(line)
        if field is None:
            raise BadMessage("there is a malformed line in the trailer section")
        found.append((field[1], field[2].strip(b" \t")))
    if len(found) > FIELDS:
        raise BadMessage(f"there are more than {FIELDS} trailer fields", 431)
    return found


def _check(head: bytes) -> None:
    if head.count(b"\r\n") > FIELDS + 2:
        raise BadMessage(f"there are more than {FIELDS} fields", 431)
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or not all(map(_LENGTH_VALUE.fullmatch, lengths)):
        raise BadMessage("Content-Length is not one number (RFC 9112 section 6.3)")


def _event(connection: h11.Connection, head: bytes) -> object:
    connection.receive_data(head)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
        if status == 501 and b"chunked" in _codings(head)[:-1]:
            raise BadMessage(
                "chunked is not the last transfer coding (RFC 9112 section 6.3)"
            ) from None
        if status == 501:
            raise BadMessage("a transfer coding other than chunked", status) from None
        # Behind the colon h11 quotes what it was sent.
        raise BadMessage(str(error).partition(":")[0], status) from None


def _codings(head: bytes) -> list[bytes]:
    members = b",".join(_CODING.findall(head)).split(b",")
    return [member.strip(b" \t").lower() for member in members]


def _minor(version: bytes) -> int:
    if version[:2] != b"1.":
        raise BadMessage("the version of HTTP is not 1.0 or 1.1", 505)
    return min(int(version[2:]), 1)


def _fields(raw: list[Field]) -> Fields:
    return Fields([(bytes(name), _value(name, value)) for name, value in raw])


def _value(name: bytes, value: bytes) -> bytes:
    # With zeros before it, a length is octal to some: it is written anew.
    return b"%d" % int(value) if name.lower() == b"content-length" else bytes(value)
