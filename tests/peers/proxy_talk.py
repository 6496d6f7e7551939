"""Clients of proxies that say any octets, and put the answer in a few words.

The words are what the tables of `proxy_requests` have: "0, served" is a reply of SOCKS and a tunnel
behind it that works, "100 200" are two status codes of HTTP.  "closed" is the end of the
connection without an answer, by FIN or by RST, and "silence" that nothing came for `PATIENCE`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Fact = Callable[["list[Answer]", "Talk"], str]
    """Puts in words what the answers show, "" for nothing; it may go on talking."""

PATIENCE = 8.0
"""Seconds."""
CLOSED, SILENCE, NOT_HTTP, CUT = "closed", "silence", "no HTTP", "cut short"

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"


class Ended(Exception):
    """There is no more to read: *args* is the word for it."""


class Talk:
    """A connection to a proxy."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self._sock = sock
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send *data*; that the peer has gone meanwhile is noticed when reading."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(data)

    def _more(self) -> None:
        try:
            data = self._sock.recv(65536)
        except TimeoutError:
            raise Ended(SILENCE) from None
        except ConnectionResetError:
            data = b""
        if not data:
            raise Ended(CLOSED)
        self._buffer += data

    def read(self, count: int) -> bytes:
        """Return exactly *count* octets.  Raises Ended."""
        while len(self._buffer) < count:
            self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def line(self) -> bytes:
        """Return a line without its end.  Raises Ended."""
        while b"\n" not in self._buffer:
            self._more()
        data, _, self._buffer = self._buffer.partition(b"\n")
        return data.rstrip(b"\r")

    def rest(self) -> bytes:
        """Return what comes before the end of the connection.  Raises Ended if none does."""
        try:
            while True:
                self._more()
        except Ended as ended:
            if ended.args[0] == SILENCE:
                raise
        data, self._buffer = self._buffer, b""
        return data


@dataclass(frozen=True)
class Answer:
    """An answer of HTTP: *fields* have names in lower case; *chunked* if the body was."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    chunked: bool = False
    trailers: list[tuple[str, str]] = field(default_factory=list)
    version: str = "HTTP/1.1"

    @property
    def is_final(self) -> bool:
        """Whether no other answer to the request follows."""
        return self.status >= 200 or self.status == 101

    def values(self, name: str) -> list[str]:
        """Return the values of the fields *name*."""
        return [value for found, value in self.fields if found == name]


def read_answer(talk: Talk, *, head: bool = False, tunnel: bool = False) -> Answer:
    """Read one answer, to a request HEAD or for a tunnel if these are true.  Raises Ended."""
    start = talk.line()
    words = start.split(maxsplit=2)
    if not start.startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise Ended(NOT_HTTP)
    status, fields = int(words[1]), _fields(talk)
    answer = Answer(status, fields, version=words[0].decode())
    bodiless = head or (tunnel and status < 300)
    if bodiless or status < 200 or status in (204, 304):
        return answer
    try:
        return _with_body(talk, answer)
    except Ended as ended:
        if ended.args[0] == SILENCE:
            raise
        raise Ended(f"{status}, {CUT}") from None


def _fields(talk: Talk) -> list[tuple[str, str]]:
    fields = []
    while line := talk.line():
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.lower(), value.strip()))
    return fields


def _with_body(talk: Talk, answer: Answer) -> Answer:
    body, trailers = b"", []
    chunked = any("chunked" in value for value in answer.values("transfer-encoding"))
    if chunked:
        while size := int(talk.line().split(b";")[0], 16):
            body += talk.read(size)
            talk.line()
        trailers = _fields(talk)
    elif lengths := answer.values("content-length"):
        body = talk.read(int(lengths[0]))
    else:
        body = talk.rest()
    return Answer(answer.status, answer.fields, body, chunked, trailers, answer.version)


# -- what a client says --------------------------------------------------------------------------


@dataclass(frozen=True)
class Socks5:
    """A request of SOCKS5, after a greeting that offers *methods*.

    *login* follows if the proxy chose user and password.  All is sent at once if *together*, and
    in segments of one octet if *crumbled*.
    """

    request: bytes
    methods: bytes = b"\0"
    login: bytes = b""
    together: bool = False
    crumbled: bool = False
    probe: bytes = PROBE

    def __call__(self, talk: Talk) -> str:
        """Say it; return the answer in words."""
        greeting = bytes([5, len(self.methods)]) + self.methods
        if self.together:
            talk.send(greeting + self.request)
        else:
            self._send(talk, greeting)
        try:
            version, method = talk.read(2)
            if version != 5:
                return f"version {version}"
            if method == 0xFF:
                return "no method"
            if method == 2:
                self._send(talk, self.login)
                if status := talk.read(2)[1]:
                    return f"login {status}"
            if not self.together:
                self._send(talk, self.request)
            return self._reply(talk)
        except Ended as ended:
            return str(ended.args[0])

    def _send(self, talk: Talk, data: bytes) -> None:
        for place in range(0, len(data), 1 if self.crumbled else len(data)):
            talk.send(data[place : place + 1] if self.crumbled else data)

    def _reply(self, talk: Talk) -> str:
        _, code, _, kind = talk.read(4)
        talk.read({1: 4, 4: 16}.get(kind, 0) or talk.read(1)[0])
        talk.read(2)
        return f"{code}, {served(talk, self.probe)}" if code == 0 and self.probe else str(code)


@dataclass(frozen=True)
class Socks4:
    """A request of SOCKS4 or 4a."""

    request: bytes
    probe: bytes = PROBE

    def __call__(self, talk: Talk) -> str:
        """Say it; return the answer in words."""
        talk.send(self.request)
        try:
            code = talk.read(8)[1]
        except Ended as ended:
            return str(ended.args[0])
        return f"{code}, {served(talk, self.probe)}" if code == 90 and self.probe else str(code)


def served(talk: Talk, probe: bytes) -> str:
    """Return "served" if a server answers *probe* behind a tunnel, or else "dead"."""
    talk.send(probe)
    try:
        return "served" if read_answer(talk).body == PROBE else "dead"
    except Ended:
        return "dead"


@dataclass(frozen=True)
class Http:
    """Requests of HTTP: *parts*, each sent when an answer, or 100, to the part before has come.

    As many *answers* are read, those with a status of 1xx apart.  *facts* are told of the last one
    if its status is below 300.  It has no body if the request is HEAD, and is followed by a tunnel
    with a *probe* in it if the request is CONNECT.
    """

    parts: tuple[bytes, ...]
    facts: tuple[Fact, ...] = ()
    answers: int = 1
    head: bool = False
    tunnel: bool = False
    probe: bytes = PROBE

    def __call__(self, talk: Talk) -> str:
        """Say it; return the answer in words."""
        found: list[Answer] = []
        pending = list(self.parts)
        talk.send(pending.pop(0))
        try:
            while sum(answer.is_final for answer in found) < self.answers:
                found.append(read_answer(talk, head=self.head, tunnel=self.tunnel))
                if pending:
                    talk.send(pending.pop(0))
        except Ended as ended:
            return " ".join([*(str(answer.status) for answer in found), str(ended.args[0])])
        words = [" ".join(str(answer.status) for answer in found)]
        if found[-1].status < 300:
            words += [fact(found, talk) for fact in self.facts]
            words += [served(talk, self.probe)] if self.tunnel else []
        return ", ".join(filter(None, words))
