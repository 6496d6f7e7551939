"""Clients of a proxy that another process has accepted, and passes on over a UNIX socket.

They have come by TLS.  What is passed is one end of a pair of UNIX streams, whose other end has the
octets that the client sends and gets inside TLS.  The pair needs no name by which others could
reach it, nor the right to connect.
"""

from __future__ import annotations

import _socket
import array
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from faith.translation.address import number

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Endpoint = tuple[str, int]

BATCH = 16
"""Clients that are received in one turn."""
_LONGEST = 1024
_FLAGS = _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
_INT = array.array("i").itemsize
_ROOM = _socket.CMSG_SPACE(_INT)


class Introduction(NamedTuple):
    """The endpoint that a *client* has come from, the *local* one that it has come to, and where
    its *proxy* listens, as the settings say."""

    client: Endpoint
    local: Endpoint
    proxy: Endpoint


def channel() -> tuple[_socket.socket, _socket.socket]:
    """Return the ends of a channel, which any number of processes may share: from the first they
    receive clients, by the second they pass them on."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    for end in first, second:
        end.setblocking(False)
    return first, second


def pass_on(by: _socket.socket, stream: int, introduction: Introduction) -> None:
    """Send the descriptor *stream* of a client.  Raises OSError, EAGAIN where too many wait."""
    message = json.dumps(introduction._asdict()).encode()
    rights = array.array("i", (stream,)).tobytes()
    by.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)], _socket.MSG_DONTWAIT)


class PassedClients:
    """A handler for the plane: calls *came* with every client that comes from the channel *sock*.

    The other side is believed no more than any client: what is no stream with an introduction is
    dropped.
    """

    def __init__(
        self, sock: _socket.socket, came: Callable[[_socket.socket, Introduction], object]
    ) -> None:
        self.sock = sock
        self._came = came

    def __call__(self, mask: int) -> None:
        """Receive what waits, up to a batch; the rest makes the channel readable again."""
        for _ in range(BATCH):
            try:
                message, rights, _, _ = self.sock.recvmsg(_LONGEST, _ROOM, _FLAGS)
            except OSError:
                return
            if not message and not rights:  # nobody passes clients on any more
                return
            streams, introduction = _streams(rights), _introduction(message)
            if introduction is not None and [_is_stream(one) for one in streams] == [True]:
                streams[0].setblocking(False)
                self._came(streams[0], introduction)
            else:
                for one in streams:
                    one.close()


def _streams(rights: list[tuple[int, int, bytes]]) -> list[_socket.socket]:
    """Return sockets of the descriptors that came; what is no socket is closed."""
    found = []
    for level, kind, octets in rights:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            for descriptor in array.array("i", octets[: len(octets) // _INT * _INT]):
                try:
                    found.append(_socket.socket(fileno=descriptor))
                except OSError:
                    os.close(descriptor)
    return found


def _is_stream(sock: _socket.socket) -> bool:
    return sock.family == _socket.AF_UNIX and sock.type == _socket.SOCK_STREAM


def _introduction(message: bytes) -> Introduction | None:
    """Return what *message* says, None if it makes no sense."""
    try:
        told = json.loads(message)
        return Introduction(*(_endpoint(told[name]) for name in Introduction._fields))
    except (ValueError, TypeError, LookupError, OSError, RecursionError):
        return None


def _endpoint(told: Any) -> Endpoint:
    host, port = told
    number(host)
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"{port!r} is no port")
    return host, port
