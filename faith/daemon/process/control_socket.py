"""The control socket: a request and its answer, JSON objects both, for who may have them.

It is a SOCK_SEQPACKET socket of mode 0600.  A connection is for one request, an object with its
"command"; the answer is an object too, with an "error" if it went wrong.  Some commands answer by
several, with a file of JSON lines each (SCM_RIGHTS), and the end of the connection.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from contextlib import suppress
from errno import EACCES, EADDRINUSE, EDQUOT, ENOSPC, EPERM, EROFS
from functools import partial
from typing import TYPE_CHECKING, Any

from faith.daemon.process.channel import JsonChannel
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from faith.daemon.process.channel import Message
    from faith.daemon.process.loop import Loop

CLIENTS = 16
"""Connections at a time; more are closed at once."""
PATIENCE = 10.0
"""Seconds a connection has, from its beginning to its end."""

_NOT_WRITABLE = (EROFS, EACCES, EPERM, ENOSPC, EDQUOT)

log = logging.getLogger("faith.supervisor")

_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid


class Request:
    """A request of a client, with its fields in *words*.  Answered once, at once or later."""

    def __init__(
        self, channel: JsonChannel, end: Callable[[], None], give: Callable[[], JsonChannel]
    ) -> None:
        self.words: Message = {}
        self.end = end
        """Close the connection; a no-op the second time."""
        self._give = give
        self._channel: JsonChannel | None = channel

    def answer(self, **fields: Any) -> None:
        """Answer by *fields*, and that is it."""
        self.tell(fields)
        self.end()

    def fail(self, why: object) -> None:
        """Answer that it could not be done."""
        self.answer(error=str(why))

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Answer by *message*, and more to come; who does not read, or is gone, gets no more."""
        if self._channel is None:
            return
        try:
            self._channel.send(message, descriptors)
        except OSError:
            self.end()

    def take(self) -> JsonChannel:
        """The connection, to be answered there in any time: this request is over."""
        self._channel = None
        return self._give()


class Control:
    """Listens at *path* and has *commands* carried out; the loop calls them.

    A socket that is *given* listens there already, and whose it is takes it away.  Raises
    SetupError.
    """

    def __init__(
        self,
        loop: Loop,
        path: Path,
        commands: Mapping[str, Callable[[Request], None]],
        given: Sequence[socket.socket] = (),
    ) -> None:
        self._loop = loop
        self._path = path
        self._commands = commands
        # Each with what calls off the end of its patience.
        self._clients: dict[JsonChannel, Callable[[], None]] = {}
        self._is_given = bool(given)
        self._socket = given[0] if given else _listening(path)
        self._socket.setblocking(False)
        self._loop.watch(self._socket, self._accept)

    def fileno(self) -> int:
        """The listening descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more, and take the socket away."""
        if not self._is_given:
            self._path.unlink(missing_ok=True)
        for channel in list(self._clients):
            self._end(channel)
        self._loop.forget(self._socket)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it has left again, or there is no descriptor for it
            sock, _ = self._socket.accept()
            if len(self._clients) >= CLIENTS or not _is_trusted(sock):
                sock.close()
                return
            channel = JsonChannel(sock)
            self._clients[channel] = self._loop.later(PATIENCE, partial(self._end, channel))
            self._loop.watch(channel, partial(self._receive, channel))

    def _receive(self, channel: JsonChannel) -> None:
        request = Request(channel, partial(self._end, channel), partial(self._give, channel))
        try:
            received = channel.receive()
            if received is None:
                request.end()
                return
            request.words, descriptors, _ = received
            for descriptor in descriptors:
                os.close(descriptor)
            command = self._commands[request.words["command"]]
        except BlockingIOError:
            return
        except (OSError, LookupError, TypeError, ValueError):
            request.fail("this is no command; there are " + ", ".join(self._commands))
            return
        self._loop.forget(channel)  # one request is all there is
        try:
            command(request)
        except Exception:
            text = "the request %s failed, which is a defect of this program"
            log.exception(text, request.words["command"])
            request.fail("it failed, which is a defect of this program; its log says more")

    def _give(self, channel: JsonChannel) -> JsonChannel:
        self._clients.pop(channel, lambda: None)()
        self._loop.forget(channel)
        return channel

    def _end(self, channel: JsonChannel) -> None:
        if channel in self._clients:
            self._give(channel).close()


def opened(
    loop: Loop,
    path: Path,
    commands: Mapping[str, Callable[[Request], None]],
    given: Sequence[socket.socket] = (),
) -> tuple[Control | None, list[str]]:
    """Return the control socket at *path*, and why there is none, as warnings that are logged.

    Where the file system is read-only, or may not be written to, the daemon serves without one.
    Raises SetupError for other failures.
    """
    try:
        return Control(loop, path, commands, given), []
    except SetupError as error:
        cause = error.__cause__
        if not (isinstance(cause, OSError) and cause.errno in _NOT_WRITABLE):
            raise
        warning = (
            f"no control socket: {error}; faith reload, drain and others cannot reach this daemon:"
            ' make the directory writable, or choose another path, or "none", as its control'
        )
        log.warning("%s", warning)
        return None, [warning]


def _is_trusted(sock: socket.socket) -> bool:
    """Return whether the peer of *sock* is the superuser or the user of this process."""
    peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(peer)[1] in (0, os.geteuid())


def _listening(path: Path) -> socket.socket:
    step = f"listen on {path}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _clear(path)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(CLIENTS)
    except OSError as error:
        sock.close()
        taken = error.errno == EADDRINUSE
        hint = "another daemon listens there: choose another path as control" if taken else ""
        raise SetupError(step, error.strerror or str(error), hint) from error
    sock.setblocking(False)
    return sock


def _clear(path: Path) -> None:
    """Take away a socket that a daemon has left there when it was killed.  Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if path.is_socket():
                path.unlink()
