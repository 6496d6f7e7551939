"""The end of TLS for clients of proxies: accepted here, decrypted, and passed on to the workers."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.sockets.tcp_sockets import reset
from faith.relay.proxy.passed_clients import Introduction, pass_on
from faith.relay.proxy.tls_passage import TlsPassage
from faith.relay.tcp.listener import Listener, Reserve
from faith.relay.tcp.plane import HUP, IN, Plane
from faith.translation.address import unmapped

if TYPE_CHECKING:
    import _socket
    import ssl
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable

    from faith.relay.tcp.listener import Peer
    from faith.relay.tcp.session_shares import SessionShares

    Endpoint = tuple[str, int]

log = logging.getLogger("faith.proxy")

REST = 1.0
"""Seconds until a listener that was paused is looked at again, or one that lacks descriptors."""


class TlsListener(NamedTuple):
    """A listener of the *proxy* that settings call by that host and port, and TLS for it."""

    sock: _socket.socket
    proxy: Endpoint
    context: ssl.SSLContext


class TlsTerminator:
    """Terminates TLS for all clients of this process, which have *shares* of its places.

    *idle* is called when nothing is listened to any more, and the last client is gone.
    """

    def __init__(
        self, loop: AbstractEventLoop, shares: SessionShares, idle: Callable[[], object]
    ) -> None:
        self._loop = loop
        self._plane = Plane(loop, lambda leg, events: None, lambda session: None)
        self._shares = shares
        self._idle = idle
        self._reserve = Reserve()
        self._listeners: dict[int, TlsListener] = {}
        self._channel: _socket.socket | None = None
        self._passages: set[TlsPassage] = set()

    def serve(self, listeners: Iterable[TlsListener], channel: _socket.socket | None) -> None:
        """Accept from these *listeners*, and from no others, and pass clients on by *channel*.

        All sockets stay the caller's; one that goes has to be open until this returns.
        """
        before, self._listeners = self._listeners, {one.sock.fileno(): one for one in listeners}
        self._channel = channel
        for descriptor in before:
            self._plane.unwatch(descriptor)
        for one in self._listeners.values():
            self._watch(one)
        self._rest()

    def close(self) -> None:
        """Cut every client."""
        self.serve((), None)
        for passage in list(self._passages):
            passage.close()
        self._reserve.close()
        self._plane.close()

    # -- accepting ---------------------------------------------------------------------------

    def _watch(self, one: TlsListener) -> None:
        descriptor = one.sock.fileno()
        if self._listeners.get(descriptor) is not one:  # it has gone while it rested
            return
        accept = Listener(one.sock, partial(self._accepted, one), self._exhausted, self._reserve)

        def ready(events: int) -> None:
            if events & HUP:  # it is paused: the kernel would say so all the time
                self._let_rest(one)
            else:
                accept(events)

        self._plane.watch(descriptor, ready, IN)

    def _let_rest(self, one: TlsListener) -> None:
        self._plane.unwatch(one.sock.fileno())
        self._loop.call_later(REST, self._watch, one)

    def _exhausted(self, listener: Listener, is_shed: bool) -> None:
        log.warning("no descriptors are left for a client that has come by TLS")
        self._let_rest(self._listeners[listener.sock.fileno()])

    def _accepted(self, at: TlsListener, fd: int, peer: Peer) -> None:
        client = socket.socket(fileno=fd)
        client.setblocking(False)
        host = unmapped(peer[0])
        shares = self._shares
        if shares.taken >= shares.half and (why := shares.refuses(host)):
            log.info("a client from %s that has come by TLS is refused: %s", host, why)
            reset(client)
            return
        try:
            inner = self._pass_on(client, (host, peer[1]), at.proxy)
        except OSError as error:
            log.warning("a client that has come by TLS cannot be passed on: %s", error.strerror)
            reset(client)
            return
        self._begin(client, inner, at.context, shares.client(host))

    def _pass_on(self, client: socket.socket, peer: Endpoint, proxy: Endpoint) -> socket.socket:
        """Have a worker serve *client*; return the end of its stream.  Raises OSError."""
        local, port = client.getsockname()[:2]
        introduction = Introduction(peer, (unmapped(local), port), proxy)
        inner, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                assert self._channel is not None
                inner.setblocking(False)
                pass_on(self._channel, theirs.fileno(), introduction)
            except BaseException:
                inner.close()
                raise
        return inner

    def _begin(
        self, client: socket.socket, inner: socket.socket, context: ssl.SSLContext, share: int
    ) -> None:
        plane = self._plane

        def over() -> None:
            self._passages.remove(passage)
            self._shares.remove(share)
            plane.retire(client)
            plane.retire(inner)
            self._rest()

        passage = TlsPassage(self._loop, context, client, inner, plane.rewatch, over)
        self._passages.add(passage)
        self._shares.add(share)
        plane.watch(client.fileno(), partial(_guarded, passage, passage.client_ready), IN)
        plane.watch(inner.fileno(), partial(_guarded, passage, passage.inner_ready), IN)
        passage.start()

    def _rest(self) -> None:
        if not self._listeners and not self._passages:
            self._loop.call_soon(self._idle)


def _guarded(passage: TlsPassage, ready: Callable[[int], None], events: int) -> None:
    """Call *ready*; a defect costs one client its connection."""
    try:
        ready(events)
    except Exception:
        log.exception("a defect in TLS; the client that met it is cut")
        passage.close()
