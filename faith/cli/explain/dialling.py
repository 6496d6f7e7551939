"""A test connection from this host to a server, bounded in time."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from faith.cli.explain import echo
from faith.cli.explain.facts import Dial
from faith.translation.address import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.cli.explain.explanation import Question

TIMEOUT = 3.0
"""Seconds for the server's answer."""

_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err
_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.EACCES: "unreachable",
    errno.EPROTO: "unreachable",
    errno.ETIMEDOUT: "silent",
    errno.EPERM: "forbidden",
    errno.EADDRNOTAVAIL: "no source",
    errno.EADDRINUSE: "no port",
    errno.EAGAIN: "no port",
}


def dial(
    question: Question, server: str, port: int, source: str | None, user: int | None = None
) -> Dial:
    """Connect to *port* of *server* from *source*, an address or None, as *question* asks.

    The socket is one of *user*, if this process may be one: rules and filters may look at that.
    """
    if question.protocol == "icmp":
        return _ping(server, source)
    kind = socket.SOCK_STREAM if question.protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with _socket(family, kind, user) as sock:
        sock.setblocking(False)
        try:
            _bind(sock, family, source)
        except OSError as error:
            return Dial("no source", error.strerror or "")
        try:
            sock.connect((server, port))
            if kind == socket.SOCK_DGRAM:
                sock.send(b"")
        except BlockingIOError:
            pass
        except OSError as error:
            return _failed(sock, error.errno or 0)
        return _awaited(sock, kind)


def _socket(family: int, kind: int, user: int | None) -> socket.socket:
    with as_user(user):
        return socket.socket(family, kind)


@contextmanager
def as_user(user: int | None) -> Iterator[None]:
    """Have sockets be those of *user*, if this process may be one, as they are made."""
    before = os.geteuid()
    with suppress(PermissionError):
        os.seteuid(before if user is None else user)
    try:
        yield
    finally:
        os.seteuid(before)


def _bind(sock: socket.socket, family: int, source: str | None) -> None:
    """Have errors of ICMP reported, and bind to *source*.  Raises OSError."""
    v6 = family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
    sock.setsockopt(level, _IPV6_RECVERR if v6 else _IP_RECVERR, 1)
    if source:
        with suppress(PermissionError):
            sock.setsockopt(level, _IPV6_TRANSPARENT if v6 else _IP_TRANSPARENT, 1)
        sock.bind((source, 0))


def _awaited(sock: socket.socket, kind: int) -> Dial:
    poll = select.poll()
    events = select.POLLOUT if kind == socket.SOCK_STREAM else select.POLLIN
    poll.register(sock, events | select.POLLERR)
    if not poll.poll(TIMEOUT * 1000):
        return Dial("silent", f"no answer within {TIMEOUT:g} s")
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        return _failed(sock, error)
    return Dial("connected" if kind == socket.SOCK_STREAM else "answered")


def _failed(sock: socket.socket, error: int) -> Dial:
    return Dial(_KINDS.get(error, "failed"), os.strerror(error), _offender(sock))


def _offender(sock: socket.socket) -> str:
    """Return the sender of the ICMP error in the queue of *sock*, "" without one."""
    try:
        _, ancillary, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError:
        return ""
    for _, kind, data in ancillary:
        if kind not in (_IP_RECVERR, _IPV6_RECVERR) or len(data) < _EXTENDED_ERROR.size + 4:
            continue
        family, at = struct.unpack_from("=H", data, _EXTENDED_ERROR.size)[0], _EXTENDED_ERROR.size
        if family == socket.AF_INET:
            return text(data[at + 4 : at + 8])
        if family == socket.AF_INET6 and len(data) >= at + 24:
            return text(data[at + 8 : at + 24])
    return ""


def _ping(server: str, source: str | None) -> Dial:
    try:
        answered = echo.ask(server, source, echo.SHORT, TIMEOUT)
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, "failed")
        return Dial("failed" if kind == "forbidden" else kind, error.strerror or "")
    if answered.replied:
        return Dial("answered")
    if answered.unreachable:
        return Dial("unreachable", "destination unreachable", answered.by)
    return Dial("silent", f"no answer within {TIMEOUT:g} s")
