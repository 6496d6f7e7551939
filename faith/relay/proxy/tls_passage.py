"""One client that has come by TLS: its octets, decrypted, to and from a UNIX stream.

What one side does, the other is shown: a half-close, that there is no room, and a connection that
was cut.  TLS has an end of its own, close_notify (RFC 8446 §6.1): a client that misses it knows
that the proxy has cut the connection.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable

CHUNK = 65536
"""Octets of a read."""
PATIENCE = 120.0
"""Seconds that a client has to take the last octets, when there is nobody else any more."""

_IN, _OUT, _HUP, _ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR
_EDGE = select.EPOLLRDHUP | select.EPOLLET
"""Waiting for nothing: an end that cannot be acted on yet is told only once."""


class TlsPassage:
    """Passes octets between *client*, by TLS of *context*, and *inner*; neither may block.

    *watch* is called with a descriptor and the events to wait for; the owner calls `client_ready`
    and `inner_ready` with those that have come.  *over* is called once: then both sockets are to be
    closed.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        context: ssl.SSLContext,
        client: socket.socket,
        inner: socket.socket,
        watch: Callable[[int, int], object],
        over: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._client = client
        self._inner = inner
        self._watch = watch
        self._over = over
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_side=True)
        self._is_open = False
        """The handshake is done."""
        self._to_client = bytearray()
        self._to_inner = bytearray()
        self._client_ended = self._inner_ended = False
        self._client_told = self._inner_told = False
        """Each has been told of the other's end."""
        self._is_cut = False
        """The inner side is gone without an end of the client's."""
        self._is_shut = False
        """The client has got a FIN."""
        self._is_over = False
        self._timer: TimerHandle | None = None
        self._events = {client.fileno(): -1, inner.fileno(): -1}

    def start(self) -> None:
        """Begin to wait for the client."""
        self._settle()

    def client_ready(self, events: int) -> None:
        """Handle what has happened to the client's connection."""
        if self._is_over:
            return
        if events & _ERR:
            self._read_rest()
            self._lose_client()
            return
        if events & ~_OUT and self._reads_client:
            self._read_client()
        self._settle()

    def inner_ready(self, events: int) -> None:
        """Handle what has happened to the UNIX stream."""
        if self._is_over:
            return
        if events & ~_OUT and self._reads_inner:
            self._read_inner()
        if events & _HUP:
            # Nobody is there who would end what lasts too long.
            self._timer = self._timer or self._loop.call_later(PATIENCE, self.close)
            if not self._client_ended:
                self._read_last()
        self._settle()

    def close(self) -> None:
        """Cut both sides."""
        if not self._is_over:
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            self._over()

    # -- reading -----------------------------------------------------------------------------

    @property
    def _reads_client(self) -> bool:
        return not (self._to_inner or self._client_ended or (self._to_client and not self._is_open))

    @property
    def _reads_inner(self) -> bool:
        return not (self._to_client or self._inner_ended) and self._is_open

    def _read_rest(self) -> None:
        """Pass on what has come before the client's connection failed, as far as there is room."""
        while not (self._to_inner or self._client_ended or self._is_over):
            data = self._receive(self._client)
            if not data:
                break
            self._coming.write(data)
            self._decrypt()
            self._send(self._inner, self._to_inner)

    def _read_client(self) -> None:
        data = self._receive(self._client)
        if data is None:
            return
        if data:
            self._coming.write(data)
        else:
            self._coming.write_eof()
        self._decrypt()

    def _decrypt(self) -> None:
        """Do what the octets of TLS allow that have come."""
        try:
            if not self._is_open:
                self._tls.do_handshake()
                self._is_open = True
            while data := self._tls.read(CHUNK):
                self._to_inner += data
            self._client_ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # An end without close_notify is in use: HTTP has ends of its own.
            self._client_ended = True
        except ssl.SSLError:
            self._to_client += self._going.read()  # an alert says why
            self._send(self._client, self._to_client)
            self.close()
            return
        self._to_client += self._going.read()
        if self._client_ended and not self._is_open:
            self.close()

    def _read_inner(self) -> None:
        data = self._receive(self._inner)
        if data is None:
            return
        if data:
            self._tls.write(data)
            self._to_client += self._going.read()
        else:
            self._inner_ended = True

    def _read_last(self) -> None:
        """Take what has come from the other side, which is gone: no more than a socket holds."""
        self._is_cut = True
        before = -1
        while self._is_open and not self._inner_ended and len(self._to_client) > before:
            before = len(self._to_client)
            self._read_inner()
        self._inner_ended = True

    def _receive(self, sock: socket.socket) -> bytes | None:
        """Return what has come, nothing at the end, None if there is nothing yet."""
        try:
            return sock.recv(CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            if sock is self._client:
                self._lose_client()
                return None
            self._is_cut = True
            return b""

    # -- sending, and ends -------------------------------------------------------------------

    def _settle(self) -> None:
        """Send what can be sent, pass ends on, and choose what to wait for."""
        if self._is_over:
            return
        self._flush()
        if self._is_over:
            return
        self._pass_ends()
        if not self._is_over:
            self._choose()

    def _flush(self) -> None:
        if self._to_inner and not self._send(self._inner, self._to_inner):
            self._to_inner.clear()  # whoever had it is gone
            self._is_cut = True
        if self._to_client and not self._send(self._client, self._to_client):
            self._lose_client()

    def _send(self, sock: socket.socket, data: bytearray) -> bool:
        """Send some of *data*; return False if nothing can be sent any more."""
        while data:
            try:
                sent = sock.send(data)
            except BlockingIOError:
                break
            except OSError:
                return False
            del data[:sent]
        return True

    def _pass_ends(self) -> None:
        if self._is_cut and not self._client_ended:
            if not self._to_client:
                self.close()  # without close_notify
            return
        if self._client_ended and not self._to_inner and not self._inner_told:
            self._inner_told = True
            self._shut_down(self._inner)
        if self._inner_ended and not self._to_client and not self._client_told:
            self._client_told = True
            self._say_goodbye()
        if self._client_told and not self._to_client:
            if not self._is_shut:
                self._is_shut = True
                self._shut_down(self._client)
            if self._inner_told:
                self.close()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLError, OSError):  # it wants the client's goodbye as well
            self._tls.unwrap()
        self._to_client += self._going.read()
        if not self._send(self._client, self._to_client):
            self._lose_client()

    def _shut_down(self, sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self.close()

    def _lose_client(self) -> None:
        """The client's connection has failed: the other side gets what came before, and its end."""
        if not self._is_over:
            self._send(self._inner, self._to_inner)
            self.close()

    def _choose(self) -> None:
        client = (_IN if self._reads_client else 0) | (_OUT if self._to_client else 0)
        inner = (_IN if self._reads_inner else 0) | (_OUT if self._to_inner else 0)
        for sock, events in (self._client, client), (self._inner, inner):
            descriptor = sock.fileno()
            chosen = events or _EDGE
            if self._events[descriptor] != chosen:
                self._events[descriptor] = chosen
                self._watch(descriptor, chosen)
